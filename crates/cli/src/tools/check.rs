//! `ottla storage check`: what is wrong in the data directories of a node that is stopped, and what a start would lose.
//! Nothing is changed. Kafka has no such tool.

use std::path::{Path, PathBuf};

use ottla_storage::dirs::{META_PROPERTIES_FILE, PARTITION_METADATA_FILE, parse_dir_name};
use ottla_storage::disk::OsDisk;
use ottla_storage::examine::{self, Expected, Finding, Report, Severity};

use super::storage::load_config;
use crate::args::{Parser, Style};
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry, Progress};

/// Nothing is wrong: 0. Something is: 1. There is nothing to look at: 2.
const PROBLEMS: i32 = 1;
const CANNOT_EXAMINE: i32 = 2;

fn parser() -> Parser {
    Parser::new(
        "Usage: ottla storage check DIR... | server.properties\n\n\
         Examines the log directories of one node, which must be stopped, without changing them: says what is wrong, \
         where, and what would be lost if the node were started. Exit code: 0 when nothing is wrong, 1 when something \
         is, 2 when it cannot examine.",
    )
    .style(Style::Argparse)
    .positional()
    .flag("quiet", "Only what is wrong, not what is merely noteworthy.")
    .alias("q", "quiet")
    .alias("h", "help")
}

fn cannot(text: impl AsRef<str>) -> ToolError {
    output::error(text.as_ref(), "");
    ToolError::Exit(CANNOT_EXAMINE)
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = match parser.parse(args) {
        Err(error @ ToolError::Exit(_)) => return Err(error),
        Err(error) => {
            error.report();
            return Err(ToolError::Exit(CANNOT_EXAMINE));
        }
        Ok(options) => options,
    };
    let targets = match options.words() {
        [command, targets @ ..] if command == "check" && !targets.is_empty() => targets,
        [command] if command == "check" => return Err(cannot("which directory? ottla storage check DIR")),
        _ => {
            return Err(cannot(
                "there is one command: ottla storage check DIR. See also: ottla kafka-storage",
            ));
        }
    };
    let (dirs, expected) = directories(targets)?;
    for dir in &dirs {
        if !is_log_dir(dir).map_err(|e| cannot(format!("{}: {e}", dir.display())))? {
            let text = "no log directory: neither meta.properties nor a partition is in it";
            return Err(cannot(format!("{}: {text}", dir.display())));
        }
    }
    let total = examine::bytes_to_read(&OsDisk, &dirs).ok();
    let mut printer =
        Printer { progress: Progress::new("bytes", total), read: 0, quiet: options.has("quiet") };
    output::list("findings");
    let summary = examine::examine(&OsDisk, &dirs, &expected, &mut printer)
        .map_err(|error| cannot(format!("cannot examine: {error}")))?;
    drop(printer);
    let healthy = summary.problems == 0;
    let verdict = match (summary.problems, summary.notes) {
        (0, 0) => "nothing is wrong".to_owned(),
        (0, notes) => format!("nothing is wrong ({notes} notes)"),
        (problems, notes) => format!("{problems} problems, {notes} notes"),
    };
    let text = format!(
        "{} directories, {} partitions, {} segments, {} batches, {} bytes: {verdict}",
        summary.directories, summary.partitions, summary.segments, summary.batches, summary.bytes
    );
    output::only(
        Entry::new(text)
            .with("healthy", healthy)
            .with("directories", summary.directories)
            .with("partitions", summary.partitions)
            .with("segments", summary.segments)
            .with("batches", summary.batches)
            .with("bytes", summary.bytes)
            .with("problems", summary.problems)
            .with("notes", summary.notes),
    );
    if healthy { Ok(()) } else { Err(ToolError::Exit(PROBLEMS)) }
}

/// A wrong path must not look like a log directory in which everything is missing.
fn is_log_dir(dir: &Path) -> std::io::Result<bool> {
    let is_partition = |name: &str| {
        let files = std::fs::read_dir(dir.join(name)).into_iter().flatten().flatten();
        parse_dir_name(name).is_some()
            && files.map(|file| file.file_name()).any(|file| {
                file == PARTITION_METADATA_FILE || Path::new(&file).extension().is_some_and(|e| e == "log")
            })
    };
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name == META_PROPERTIES_FILE || is_partition(&name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The directories that are meant, and what is known of their node.
fn directories(targets: &[String]) -> Result<(Vec<PathBuf>, Expected), ToolError> {
    let newest = ottla_metadata::features::MetadataVersion::LATEST.level();
    let mut expected = Expected { newest_metadata_version: Some(newest), ..Expected::default() };
    let mut dirs: Vec<PathBuf> = Vec::new();
    for target in targets {
        let path = Path::new(target);
        if path.is_dir() {
            dirs.push(path.to_path_buf());
            continue;
        }
        if !path.exists() {
            return Err(cannot(format!("{target}: there is no such directory or file")));
        }
        let config = load_config(target).map_err(|error| cannot(format!("{target}: {error}")))?;
        expected.node_id = Some(config.node_id);
        expected.compacted_by_default =
            config.get_list("log.cleanup.policy").iter().any(|policy| policy == "compact");
        dirs.extend(config.log_dirs.iter().map(PathBuf::from));
        dirs.push(PathBuf::from(&config.metadata_log_dir));
    }
    dirs.sort();
    dirs.dedup();
    Ok((dirs, expected))
}

/// Prints what is found as it is found.
struct Printer {
    progress: Progress,
    read: u64,
    quiet: bool,
}

impl Report for Printer {
    fn found(&mut self, finding: Finding) {
        if self.quiet && finding.severity == Severity::Note {
            return;
        }
        let severity = match finding.severity {
            Severity::Note => "note",
            Severity::Problem => "problem",
        };
        let effect = finding.effect.to_string();
        let entry = Entry::new(format!("{severity}: {finding}\n  {effect}"))
            .with("severity", severity)
            .with("path", finding.path.display().to_string())
            .with("position", finding.position)
            .with("offset", finding.offset)
            .with("problem", finding.problem.to_string())
            .with("effect", effect);
        output::show("findings", entry);
    }

    fn read(&mut self, bytes: u64) {
        self.read += bytes;
        self.progress.set(self.read);
    }
}
