//! `kafka-dump-log`: what is in the files of a partition. Source: Kafka `DumpLogSegments`.

mod coordinator;
mod decoder;
mod index;
mod line;
mod log;
mod metadata;
mod remote;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use crate::args::{Parsed, Parser};
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Cell};

use decoder::Decoder;
use index::IndexOptions;
use line::{Line, Lines};
use log::LogOptions;

const DEFAULT_MAX_MESSAGE_SIZE: i32 = 5 * 1024 * 1024;
const STRING_DECODER: &str = "org.apache.kafka.tools.api.StringDecoder";
/// Options that make the records' contents part of the output.
const PRINTING: &[&str] = &[
    "print-data-log",
    "offsets-decoder",
    "transaction-log-decoder",
    "cluster-metadata-decoder",
    "remote-log-metadata-decoder",
    "value-decoder-class",
    "key-decoder-class",
    "share-group-state-decoder",
];

fn parser() -> Parser {
    Parser::new("This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log segment.")
        .flag("print-data-log", "If set, printing the messages content when dumping data logs. Automatically set if any decoder option is specified.")
        .flag("verify-index-only", "If set, just verify the index log without printing its content.")
        .flag("index-sanity-check", "If set, just checks the index sanity without printing its content. This is the same check that is executed on broker startup to determine if an index needs rebuilding or not.")
        .text("files", "file1, file2, ...", "REQUIRED: The comma separated list of data and index log files to be dumped.")
        .int("max-message-size", "size", "Size of largest message. (default: 5242880)")
        .int("max-bytes", "size", "Limit the amount of total batches read in bytes avoiding reading the whole .log file(s). (default: 2147483647)")
        .flag("deep-iteration", "If set, uses deep instead of shallow iteration. Automatically set if print-data-log is enabled.")
        .optional_text("value-decoder-class", "class", "If set, used to deserialize the messages: StringDecoder (default), DefaultDecoder, IntegerDecoder or LongDecoder of org.apache.kafka.tools.api.")
        .optional_text("key-decoder-class", "class", "If set, used to deserialize the keys: StringDecoder (default), DefaultDecoder, IntegerDecoder or LongDecoder of org.apache.kafka.tools.api.")
        .flag("offsets-decoder", "If set, log data will be parsed as offset data from the __consumer_offsets topic.")
        .flag("transaction-log-decoder", "If set, log data will be parsed as transaction metadata from the __transaction_state topic.")
        .flag("cluster-metadata-decoder", "If set, log data will be parsed as cluster metadata records.")
        .flag("remote-log-metadata-decoder", "If set, log data will be parsed as TopicBasedRemoteLogMetadataManager (RLMM) metadata records. Instead, the value-decoder-class option can be used if a custom RLMM implementation is configured.")
        .flag("share-group-state-decoder", "If set, log data will be parsed as share group state data from the __share_group_state topic.")
        .flag("skip-record-metadata", "Skip metadata when printing records. This flag also skips control records.")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    parser.require(&options, &["files"])?;
    output::stream();
    let mut out = Lines { writer: &mut OutputLines, json: output::is_json() };
    dump(&options, &mut out, &mut io::stderr())
}

/// Standard output as a writer.
struct OutputLines;

impl Write for OutputLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        output::bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        output::flush();
        Ok(())
    }
}

/// What is wrong with files and is told after all of them were read. Keys are absolute paths.
#[derive(Debug, Default)]
struct Findings {
    index_mismatches: BTreeMap<String, BTreeMap<i64, i64>>,
    timestamp_mismatches: BTreeMap<String, Vec<(i64, i64)>>,
    out_of_order: BTreeMap<String, Vec<(i64, i64)>>,
    not_found: BTreeMap<String, Vec<(i64, i64)>>,
    non_consecutive: BTreeMap<String, BTreeMap<i64, i64>>,
}

impl Findings {
    /// Tells what was found: as text on standard error, as objects with the others.
    fn report(&self, out: &mut Lines<'_>, err: &mut dyn Write) -> io::Result<()> {
        let json = out.json;
        let writer: &mut dyn Write = if json { &mut *out.writer } else { err };
        let mut lines = Lines { writer, json };
        let mut tell =
            |kind: &str, head: &str, file: &str, pairs: Vec<[(&str, &str, i64); 2]>, said: Said| {
                if !lines.json {
                    lines.print(Line::said(kind, format!("{head}{file}")))?;
                }
                for [(first, first_key, a), (second, second_key, b)] in pairs {
                    let text = match said {
                        Said::Pair(indent) => format!("{indent}{first}: {a}, {second}: {b}"),
                        Said::Followed => format!("  {a} is followed by {b}"),
                    };
                    let line = Line::said(kind, text).field("file", file);
                    lines.print(line.field(first_key, a).field(second_key, b))?;
                }
                io::Result::Ok(())
            };
        for (file, pairs) in &self.index_mismatches {
            let pairs = pairs.iter().rev().map(|(index, log)| {
                [("Index offset", "indexOffset", *index), ("log offset", "logOffset", *log)]
            });
            tell("indexMismatch", "Mismatches in :", file, pairs.collect(), Said::Pair("  "))?;
        }
        for (file, pairs) in &self.timestamp_mismatches {
            let pairs = pairs.iter().map(|(index, log)| {
                [("Index timestamp", "indexTimestamp", *index), ("log timestamp", "logTimestamp", *log)]
            });
            let head = "Found timestamp mismatch in :";
            tell("timestampMismatch", head, file, pairs.collect(), Said::Pair("  "))?;
        }
        for (file, pairs) in &self.out_of_order {
            let pairs = pairs.iter().map(|(index, previous)| {
                let previous = ("Previously indexed timestamp", "previousTimestamp", *previous);
                [("Index timestamp", "indexTimestamp", *index), previous]
            });
            let head = "Found out of order timestamp in :";
            tell("timestampOutOfOrder", head, file, pairs.collect(), Said::Pair("  "))?;
        }
        for (file, pairs) in &self.not_found {
            let pairs = pairs.iter().map(|(index, log)| {
                [("Indexed offset", "indexOffset", *index), ("found log offset", "logOffset", *log)]
            });
            let head = "The following indexed offsets are not found in :";
            tell("indexedOffsetNotFound", head, file, pairs.collect(), Said::Pair(""))?;
        }
        for (file, pairs) in &self.non_consecutive {
            let pairs =
                pairs.iter().map(|(offset, next)| [("", "offset", *offset), ("", "nextOffset", *next)]);
            let head = "Non-consecutive offsets in ";
            tell("nonConsecutiveOffsets", head, file, pairs.collect(), Said::Followed)?;
        }
        Ok(())
    }
}

/// How a pair of numbers is told.
#[derive(Clone, Copy)]
enum Said {
    /// `name: number, name: number`, behind this.
    Pair(&'static str),
    /// `number is followed by number`.
    Followed,
}

fn dump(options: &Parsed, out: &mut Lines<'_>, err: &mut dyn Write) -> ToolResult {
    let printing = PRINTING.iter().any(|name| options.has(name));
    let log_options = LogOptions {
        contents: printing,
        deep: printing || options.has("deep-iteration"),
        skip_metadata: options.has("skip-record-metadata"),
        max_bytes: options.int("max-bytes").unwrap_or(i32::MAX),
        decoder: decoder(options)?,
    };
    let index_options = IndexOptions {
        sanity_only: options.has("index-sanity-check"),
        verify_only: options.has("verify-index-only"),
        max_message_size: options.int("max-message-size").unwrap_or(DEFAULT_MAX_MESSAGE_SIZE),
    };
    let mut findings = Findings::default();
    for name in options.text("files").unwrap_or_default().split(',') {
        let line = Line::said("file", format!("Dumping {name}")).field("file", name);
        out.print(line).map_err(|e| failed("standard output", e))?;
        let path = Path::new(name);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let suffix = file_name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        match suffix {
            "log" | "checkpoint" => log::dump_log(path, &log_options, &mut findings, out),
            "index" => index::dump_offset_index(path, &index_options, &mut findings, out),
            "timeindex" => index::dump_time_index(path, &index_options, &mut findings, out),
            "snapshot" => index::dump_producers(path, out, err),
            "txnindex" => index::dump_aborted(path, out),
            _ => {
                warn(err, out.json, &format!("Ignoring unknown file {name}"));
                Ok(())
            }
        }?;
    }
    findings.report(out, err).map_err(|e| failed("standard error", e))
}

fn decoder(options: &Parsed) -> Result<Decoder, ToolError> {
    Ok(if options.has("offsets-decoder") {
        Decoder::Offsets
    } else if options.has("transaction-log-decoder") {
        Decoder::Transactions
    } else if options.has("cluster-metadata-decoder") {
        Decoder::ClusterMetadata
    } else if options.has("remote-log-metadata-decoder") {
        Decoder::RemoteLogMetadata
    } else if options.has("share-group-state-decoder") {
        Decoder::ShareState
    } else {
        let class = |name| {
            let class = options.text(name).unwrap_or(STRING_DECODER);
            decoder::Plain::of_class(class).ok_or_else(|| {
                ToolError::message(format!(
                    "Failed to load decoder class {class}: only the decoders of org.apache.kafka.tools.api can be used"
                ))
            })
        };
        Decoder::Plain { key: class("key-decoder-class")?, value: class("value-decoder-class")? }
    })
}

/// An error of a file, with its name.
fn failed(file: impl Display, error: impl Display) -> ToolError {
    ToolError::message(format!("{file}: {error}"))
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}

/// The offset in the name of a file: everything before the first dot.
fn offset_of_name(path: &Path) -> Result<i64, ToolError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.split('.').next().unwrap_or_default();
    digits.parse().map_err(|_| failed(path.display(), format!("For input string: \"{digits}\"")))
}

/// `Optional` and its like as Java prints them.
fn java_optional(class: &str, value: Option<impl Display>) -> String {
    value.map_or_else(|| format!("{class}.empty"), |value| format!("{class}[{value}]"))
}

/// An `OptionalLong`, and the number or null.
fn optional_long(value: Option<i64>) -> Cell {
    Cell::new(java_optional("OptionalLong", value), value)
}

fn warn(err: &mut dyn Write, json: bool, text: &str) {
    // What is dropped here is that standard error is closed.
    let _ = if json {
        writeln!(err, "{}", serde_json::json!({"warning": text}))
    } else {
        writeln!(err, "{text}")
    };
}
