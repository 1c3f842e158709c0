//! `cargo xtask bench`: builds Ottla and the bench crate in release mode, brings Apache Kafka by this project's own pom,
//! and hands over to `ottla-bench` (see crates/bench). `--skip-build` takes the builds that are there.

use std::fs;
use std::process::Command;

use crate::smoke::root;

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
    let kafka = if against.split(',').any(|s| s == "kafka") {
        classpath("kafka-broker.xml", "kafka-classpath").unwrap_or_else(|error| {
            eprintln!("{error}");
            String::new()
        })
    } else {
        String::new()
    };
    let status = Command::new(root().join("target/release/ottla-bench"))
        .args(&args)
        .env("KAFKA_CLASSPATH", kafka)
        .current_dir(root())
        .status()
        .map_err(|e| format!("ottla-bench: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("ottla-bench: {status}")) }
}

/// The class path that a pom of `xtask/java` resolves to; asked for once.
fn classpath(pom: &str, cache: &str) -> Result<String, String> {
    let file = root().join("target").join(cache);
    if !file.exists() {
        let status = Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(root().join("xtask/java").join(pom))
            .arg("dependency:build-classpath")
            .arg(format!("-Dmdep.outputFile={}", file.display()))
            .status()
            .map_err(|e| format!("mvn: {e}"))?;
        if !status.success() {
            return Err("mvn could not bring Kafka's jars".into());
        }
    }
    Ok(fs::read_to_string(file).map_err(|e| e.to_string())?.trim().to_owned())
}
