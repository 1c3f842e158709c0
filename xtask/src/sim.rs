//! `cargo xtask sim`: builds the simulations with their mutations and runs them.

use std::process::Command;

/// The profile is fast and keeps the checks of a debug build. Features that put bugs back are compiled into a target
/// folder of their own, so that no other build can pick them up.
pub fn run(args: &[String]) -> Result<(), String> {
    let root = crate::smoke::root();
    let target = root.join("target/simulation");
    let status = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args([
            "run",
            "--quiet",
            "--profile",
            "sim",
            "-p",
            "ottla-sim",
            "--features",
            "mutations",
            "--target-dir",
        ])
        .arg(&target)
        .arg("--")
        .args(args)
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("the simulation ended with {status}")) }
}
