//! What a tool says: Kafka's text, or with `--output json` one JSON document of the same facts.
//!
//! A tool hands over entries and tables ([`show`], [`table`]); which of the two forms they take is decided here.
//! Lines that only tell a person what goes on ([`remark`]) are not part of the document.

mod document;
mod progress;
mod table;

pub use document::{Entry, Format};
pub use progress::Progress;
pub use table::{Cell, Column, Table};

use std::io::{BufWriter, IsTerminal, Stdout, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use document::Document;
use serde_json::Value;

static OUT: OnceLock<Mutex<BufWriter<Stdout>>> = OnceLock::new();
/// What has been said so far of a JSON document; none while text is printed.
static DOCUMENT: Mutex<Option<Document>> = Mutex::new(None);

fn with_out(write: impl FnOnce(&mut BufWriter<Stdout>) -> std::io::Result<()>) {
    progress::clear();
    let out = OUT.get_or_init(|| Mutex::new(BufWriter::with_capacity(64 * 1024, std::io::stdout())));
    let mut guard = out.lock().unwrap_or_else(PoisonError::into_inner);
    if write(&mut guard).is_err() {
        // Whoever reads our output has gone (`| head`): there is nobody left to tell.
        std::process::exit(1);
    }
}

fn document() -> MutexGuard<'static, Option<Document>> {
    DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Decides the form of everything that follows.
pub fn choose(format: Format) {
    *document() = match format {
        Format::Text => None,
        Format::Json => Some(Document::default()),
    };
}

pub fn is_json() -> bool {
    document().is_some()
}

fn print_line(text: &str) {
    with_out(|out| {
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        if std::io::stdout().is_terminal() { out.flush() } else { Ok(()) }
    });
}

/// Prints a line: what a tool did, in a sentence; one of `messages` in JSON. Lines reach a terminal at once, a pipe
/// when the buffer is full or [`flush`] is called.
pub fn line(text: impl AsRef<str>) {
    match document().as_mut() {
        Some(document) => document.message(text.as_ref()),
        None => print_line(text.as_ref()),
    }
}

/// Prints a line for a person; JSON does not have it.
pub fn remark(text: impl AsRef<str>) {
    if !is_json() {
        print_line(text.as_ref());
    }
}

/// An entry of the list `key`.
pub fn show(key: &str, entry: Entry) {
    if let Some(document) = document().as_mut() {
        document.push(key, entry);
        return;
    }
    entry.lines().iter().for_each(print_line_of);
}

fn print_line_of(text: impl AsRef<str>) {
    print_line(text.as_ref());
}

/// The list `key` is there, even when nothing is in it.
pub fn list(key: &str) {
    if let Some(document) = document().as_mut() {
        document.list(key);
    }
}

/// The one thing that the tool was asked for: its fields are those of the document.
pub fn only(entry: Entry) {
    if let Some(document) = document().as_mut() {
        document.merge(entry);
        return;
    }
    entry.lines().iter().for_each(print_line_of);
}

/// A field of the document, and the line that says it.
pub fn fact(key: &str, value: impl Into<Value>, text: impl Into<String>) {
    only(Entry::new(text).with(key, value));
}

/// A table; in JSON its rows are entries of the list `key`.
pub fn table(key: &str, table: &Table) {
    if let Some(document) = document().as_mut() {
        document.list(key);
        table.entries().for_each(|entry| document.push(key, entry));
        return;
    }
    table.lines().iter().for_each(print_line_of);
}

/// A warning on standard error; one of `warnings` in JSON.
pub fn notice(text: impl AsRef<str>) {
    if !warn(text.as_ref()) {
        flush();
        eprintln!("{}", text.as_ref());
    }
}

/// As [`notice`], where Kafka's tool warns on standard output.
pub fn notice_on_output(text: impl AsRef<str>) {
    if !warn(text.as_ref()) {
        print_line(text.as_ref());
    }
}

/// Whether the warning is said in JSON.
fn warn(text: &str) -> bool {
    let streamed = match document().as_mut() {
        None => return false,
        Some(document) => document.warning(text),
    };
    if let Some(object) = streamed {
        flush();
        eprintln!("{object}");
    }
    true
}

/// The output is a stream: objects come as they are found, and warnings with them.
pub fn stream() {
    if let Some(document) = document().as_mut() {
        document.streams();
    }
}

/// What went wrong, where Kafka's tool says it on standard output.
pub fn complain(text: impl AsRef<str>) {
    match document().as_mut() {
        Some(document) => document.error(text.as_ref()),
        None => print_line(text.as_ref()),
    }
}

/// What went wrong, on standard error; `help` is only for people.
pub fn error(text: &str, help: &str) {
    if let Some(document) = document().as_mut() {
        document.error(text);
        return;
    }
    flush();
    if help.is_empty() {
        eprintln!("{text}");
    } else {
        eprintln!("{text}\n{help}");
    }
}

/// One object of a stream on a line of its own.
pub fn json_line(value: &Value) {
    print_line(&value.to_string());
}

/// Prints bytes as they are.
pub fn bytes(text: &[u8]) {
    with_out(|out| out.write_all(text));
}

/// Hands everything printed so far to whoever reads it.
pub fn flush() {
    with_out(Write::flush);
}

/// The end of the tool: JSON is printed, and everything reaches whoever reads it.
pub fn finish() {
    let finished = document().take();
    if let Some(document) = finished {
        if let Some(value) = document.output() {
            print_line(&value.to_string());
        }
        flush();
        if let Some(value) = document.failure() {
            eprintln!("{value}");
        }
    }
    flush();
}

/// The log goes to standard error; `OTTLA_LOG` sets its level (default `warn`).
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OTTLA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}

#[cfg(test)]
mod tests;
