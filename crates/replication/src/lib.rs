//! Ottla: replication.
