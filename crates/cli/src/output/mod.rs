//! Standard output without panics, and the log on standard error.

use std::io::{BufWriter, IsTerminal, Stdout, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

static OUT: OnceLock<Mutex<BufWriter<Stdout>>> = OnceLock::new();

fn with_out(write: impl FnOnce(&mut BufWriter<Stdout>) -> std::io::Result<()>) {
    let out = OUT.get_or_init(|| Mutex::new(BufWriter::with_capacity(64 * 1024, std::io::stdout())));
    let mut guard = out.lock().unwrap_or_else(PoisonError::into_inner);
    if write(&mut guard).is_err() {
        // Whoever reads our output has gone (`| head`): there is nobody left to tell.
        std::process::exit(1);
    }
}

/// Prints a line. Lines reach a terminal at once, a pipe when the buffer is full or [`flush`] is called.
pub fn line(text: impl AsRef<str>) {
    with_out(|out| {
        out.write_all(text.as_ref().as_bytes())?;
        out.write_all(b"\n")?;
        if std::io::stdout().is_terminal() { out.flush() } else { Ok(()) }
    });
}

/// Prints bytes as they are.
pub fn bytes(text: &[u8]) {
    with_out(|out| out.write_all(text));
}

/// Hands everything printed so far to whoever reads it.
pub fn flush() {
    with_out(Write::flush);
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
