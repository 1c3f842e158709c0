//! Ottla: broker.
