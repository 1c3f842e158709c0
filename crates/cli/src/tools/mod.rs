//! The tools, one module each: `run(args)` prints and returns the exit code.

pub mod storage;
