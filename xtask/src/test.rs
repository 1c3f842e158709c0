//! `cargo xtask test`: everything that must pass before a change lands, in the order in which it fails fastest.

use std::process::Command;

use crate::{codegen, smoke, tidy};

fn cargo(args: &[&str]) -> Result<(), String> {
    println!("$ cargo {}", args.join(" "));
    let status = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(smoke::root())
        .status()
        .map_err(|e| e.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed", args.join(" "))) }
}

pub fn run() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"])?;
    codegen::run(true)?;
    tidy::run()?;
    println!("formatted, generated code up to date, tidy");
    smoke::install_build_tools()?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    cargo(&["test", "--workspace"])?;
    cargo(&["build", "-p", "ottla"])?;
    smoke::run(&smoke::root().join("target/debug/ottla"))
}
