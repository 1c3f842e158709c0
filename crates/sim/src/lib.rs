//! Ottla: sim.
