//! Ottla: raft.
