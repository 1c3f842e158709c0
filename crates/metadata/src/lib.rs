//! Ottla: metadata.
