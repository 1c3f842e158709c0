//! `cargo xtask bench`: builds Ottla and the bench crate in release mode, brings Apache Kafka by this project's own pom,
//! and Nisshi by cargo where it is asked for, and hands over to `ottla-bench` (see crates/bench). `--skip-build` takes the
//! builds that are there.

use std::path::PathBuf;
use std::process::Command;

use crate::java::classpath;
use crate::smoke::root;

/// What `cargo install` brings, and nothing newer: a comparison is of versions that are known.
const NISSHI: &str = "0.8.1";

pub fn run(args: &[String]) -> Result<(), String> {
    let mut args = args.to_vec();
    let skip_build = args.iter().position(|a| a == "--skip-build").map(|at| args.remove(at)).is_some();
    if !skip_build {
        let build = Command::new(env!("CARGO"))
            .args(["build", "--release", "-p", "ottla", "-p", "ottla-bench"])
            .current_dir(root())
            .status();
        if !build.is_ok_and(|s| s.success()) {
            return Err("the release build failed".into());
        }
    }
    let against = args.windows(2).find(|w| w[0] == "--against").map_or("kafka", |w| w[1].as_str());
    // What cannot be brought is left out, and said.
    let brought = |pom, cache| {
        classpath(pom, cache).unwrap_or_else(|error| {
            eprintln!("{error}");
            String::new()
        })
    };
    let kafka = if against.split(',').any(|s| s == "kafka") {
        brought("kafka-broker.xml", "kafka-classpath")
    } else {
        String::new()
    };
    let nisshi = if against.split(',').any(|s| s == "nisshi") {
        nisshi().unwrap_or_else(|error| {
            eprintln!("{error}");
            PathBuf::new()
        })
    } else {
        PathBuf::new()
    };
    let status = Command::new(root().join("target/release/ottla-bench"))
        .args(&args)
        .env("KAFKA_CLASSPATH", kafka)
        .env("KAFKA_TOOLS_CLASSPATH", brought("pom.xml", "stock-classpath"))
        .env("NISSHI", nisshi)
        .current_dir(root())
        .status()
        .map_err(|e| format!("ottla-bench: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("ottla-bench: {status}")) }
}

/// Nisshi, from `NISSHI` or installed into `target/peers` with its memory and SQLite engines; that takes a quarter of an
/// hour, once. It may need a newer compiler than this project: where the usual one is too old, a nightly is tried.
fn nisshi() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("NISSHI").filter(|p| !p.is_empty()) {
        return Ok(given.into());
    }
    let peers = root().join("target/peers");
    let program = peers.join("bin/nisshi");
    if program.exists() {
        return Ok(program);
    }
    eprintln!("installing nisshi {NISSHI} into {}: this takes a while, once", peers.display());
    for toolchain in ["", "+nightly"] {
        // Elsewhere, or this project's toolchain file decides.
        let status = Command::new("cargo")
            .args(Some(toolchain).filter(|t| !t.is_empty()))
            .args(["install", "nisshi", "--version", NISSHI, "--locked"])
            .args(["--no-default-features", "--features", "dynostore,libsql", "--root"])
            .arg(&peers)
            .arg("--target-dir")
            .arg(peers.join("build"))
            .current_dir(std::env::temp_dir())
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO")
            .status();
        if status.is_ok_and(|s| s.success()) {
            return Ok(program);
        }
    }
    Err(format!("nisshi {NISSHI} could not be installed; NISSHI=FILE names one that was built elsewhere"))
}
