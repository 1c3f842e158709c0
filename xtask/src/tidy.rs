//! `cargo xtask tidy`: the rules of the house that a compiler does not know.
//!
//! - A crate uses only the crates that its floor may (the edges are the table below).
//! - Floors 0 and 1 do no I/O, keep no clock, draw no randomness and have no unsafe code.
//! - `unsafe` stands only in storage and net, and each use says why it is sound.
//! - A source file begins with `//!`, and none grows past the limit.
//! - Links in the documents lead to files that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// Crate, and the crates of the workspace that it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("raft", &["protocol"]),
    ("metadata", &["protocol"]),
    ("replication", &["protocol", "metadata"]),
    ("coordinator", &["protocol", "metadata"]),
    ("testkit", &[]),
    ("storage", &["protocol"]),
    ("net", &["protocol"]),
    ("broker", &["protocol", "raft", "metadata", "replication", "coordinator", "storage", "net"]),
    ("client", &["protocol", "net"]),
    // The storage tool formats what the quorum reads: snapshots with their control records.
    ("cli", &["protocol", "client", "storage", "metadata", "raft", "net"]),
    ("ottla", &["broker", "cli", "metadata"]),
    ("bench", &["protocol"]),
    ("sim", &["protocol", "storage", "testkit", "metadata", "coordinator"]),
];

/// Crates that are machines: no I/O, no clock, no randomness, no unsafe.
const PURE: &[&str] = &["protocol", "testkit", "raft", "metadata", "replication", "coordinator"];
/// What has no place in a machine.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "tokio::",
    "rand::",
    "getrandom",
    "async fn",
    "unsafe {",
    "unsafe fn",
];
const UNSAFE_ALLOWED: &[&str] = &["storage", "net"];
/// Lines beyond which a hand-written file must be split by kind of thing.
const MAX_LINES: usize = 1_100;
/// Checked against each other and their generator, not read from top to bottom.
const GENERATED: &[&str] =
    &["crates/protocol/src/messages", "crates/protocol/src/api_key.rs", "crates/protocol/src/error_code.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn run() -> Result<(), String> {
    let mut problems = Vec::new();
    let crates = root().join("crates");
    let mut names: Vec<String> = fs::read_dir(&crates)
        .map_err(|e| e.to_string())?
        .filter_map(Result::ok)
        .filter(|e| e.path().join("Cargo.toml").exists())
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    for name in &names {
        check_edges(name, &mut problems)?;
        let mut files = Vec::new();
        walk(&crates.join(name).join("src"), &mut files);
        for file in files {
            check_file(name, &file, &mut problems);
        }
    }
    check_links(&mut problems);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(format!("tidy: {} problems\n{}", problems.len(), problems.join("\n")))
    }
}

fn check_edges(name: &str, problems: &mut Vec<String>) -> Result<(), String> {
    let manifest = root().join("crates").join(name).join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|e| e.to_string())?;
    let Some((_, allowed)) = EDGES.iter().find(|(n, _)| *n == name) else {
        problems.push(format!("{name}: the crate has no line in the table of edges (xtask/src/tidy.rs)"));
        return Ok(());
    };
    let mut section = "";
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(|c| c == '[' || c == ']');
        }
        // Tests may look at anything.
        if section != "dependencies" {
            continue;
        }
        if let Some(used) = line.strip_prefix("ottla-").and_then(|l| l.split(['.', ' ', '=']).next())
            && !allowed.contains(&used)
        {
            problems.push(format!("{name}: may not use ottla-{used}"));
        }
    }
    Ok(())
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn check_file(krate: &str, path: &Path, problems: &mut Vec<String>) {
    let Ok(text) = fs::read_to_string(path) else { return };
    let root = root();
    let shown = path.strip_prefix(&root).unwrap_or(path).display().to_string();
    if GENERATED.iter().any(|g| shown.starts_with(g)) {
        return;
    }
    let is_test = shown.contains("/tests") || shown.ends_with("tests.rs");
    if !text.starts_with("//!") && !is_test {
        problems.push(format!("{shown}: does not begin with //!, what the file is"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES && !is_test {
        problems.push(format!("{shown}: {lines} lines; split it by kind of thing"));
    }
    let code = text.split("#[cfg(test)]").next().unwrap_or(&text);
    let mut above = "";
    for (number, line) in code.lines().enumerate() {
        let stripped = line.trim();
        let is_code = !stripped.starts_with("//");
        if PURE.contains(&krate) && !is_test && is_code {
            for word in IMPURE.iter().filter(|w| stripped.contains(**w)) {
                problems.push(format!("{shown}:{}: `{}` in a machine", number + 1, word.trim()));
            }
        }
        if is_code && stripped.contains("unsafe {") {
            if !UNSAFE_ALLOWED.contains(&krate) {
                problems.push(format!("{shown}:{}: unsafe outside of storage and net", number + 1));
            }
            if !above.starts_with("//") && !stripped.contains("SAFETY") {
                problems.push(format!("{shown}:{}: unsafe without a SAFETY comment", number + 1));
            }
        }
        if !stripped.is_empty() {
            above = stripped;
        }
    }
}

/// `](path)` in Markdown files of the project.
fn check_links(problems: &mut Vec<String>) {
    let mut files = vec!["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .into_iter()
        .map(|f| root().join(f))
        .collect::<Vec<_>>();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                files.push(path);
            }
        }
    }
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            problems.push(format!("{}: is missing", file.display()));
            continue;
        };
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        for target in text.split("](").skip(1).filter_map(|t| t.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") && !folder.join(path).exists() {
                problems.push(format!("{}: links to {target}, which is not there", file.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_house_is_tidy() {
        if let Err(problems) = super::run() {
            panic!("{problems}");
        }
    }
}
