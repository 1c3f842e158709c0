//! Ottla: storage.
