//! Ottla: client.
