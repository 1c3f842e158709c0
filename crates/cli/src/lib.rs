//! Ottla: cli.
