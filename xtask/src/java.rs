//! Kafka's jars, by Maven.

use std::fs;
use std::process::Command;

use crate::smoke::root;

/// The class path that a pom of `xtask/java` resolves to; asked for once.
pub fn classpath(pom: &str, cache: &str) -> Result<String, String> {
    let file = root().join("target").join(cache);
    if !file.exists() {
        fs::create_dir_all(root().join("target")).map_err(|e| e.to_string())?;
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
