//! Ottla: testkit.
