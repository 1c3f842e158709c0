//! Ottla: net.
