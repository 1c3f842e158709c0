//! How far long work has come, on standard error, while both outputs are a terminal.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two updates.
const INTERVAL: Duration = Duration::from_millis(100);
const ERASE: &str = "\r\x1b[K";

/// Whether a line of progress stands on the terminal.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Takes the line off the terminal before something else is printed there.
pub(super) fn clear() {
    if SHOWN.swap(false, Ordering::Relaxed) {
        let _ = std::io::stderr().write_all(ERASE.as_bytes());
    }
}

/// A count of what has been done. It is silent unless standard output and standard error are a terminal.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    done: u64,
    total: Option<u64>,
    started: Instant,
    last: Option<Instant>,
    visible: bool,
}

impl Progress {
    /// Counts `what` (a plural: "records"), up to `total` where it is known.
    pub fn new(what: &'static str, total: Option<u64>) -> Progress {
        let visible = std::io::stdout().is_terminal() && std::io::stderr().is_terminal() && !super::is_json();
        Progress::with(what, total, visible)
    }

    fn with(what: &'static str, total: Option<u64>, visible: bool) -> Progress {
        Progress { what, done: 0, total, started: Instant::now(), last: None, visible }
    }

    pub fn add(&mut self, n: u64) {
        self.set(self.done.saturating_add(n));
    }

    pub fn set(&mut self, done: u64) {
        self.done = done;
        if self.visible {
            let now = Instant::now();
            if let Some(text) = self.due(now) {
                SHOWN.store(true, Ordering::Relaxed);
                let _ = std::io::stderr().write_all(format!("{ERASE}{text}").as_bytes());
            }
        }
    }

    /// The line, when it is time to show it. Work that is over at once shows nothing.
    fn due(&mut self, now: Instant) -> Option<String> {
        let since = now.saturating_duration_since(self.last.unwrap_or(self.started));
        if since < INTERVAL {
            return None;
        }
        self.last = Some(now);
        let seconds = now.saturating_duration_since(self.started).as_secs_f64();
        Some(self.text(self.done as f64 / seconds))
    }

    fn text(&self, per_second: f64) -> String {
        let what = self.what;
        match self.total.filter(|total| *total > 0) {
            Some(total) => {
                let percent = 100.0 * self.done as f64 / total as f64;
                format!("{} of {total} {what} ({percent:.1} %), {per_second:.0}/s", self.done)
            }
            None => format!("{} {what}, {per_second:.0}/s", self.done),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.visible {
            clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Progress};

    #[test]
    fn at_most_ten_updates_come_in_a_second() {
        let mut progress = Progress::with("records", Some(400), false);
        let started = progress.started;
        let mut shown = Vec::new();
        for ms in 1..=2_000 {
            progress.done = ms / 5;
            shown.extend(progress.due(started + Duration::from_millis(ms)));
        }
        assert_eq!(shown.len(), 20);
        assert_eq!(shown.first().map(String::as_str), Some("20 of 400 records (5.0 %), 200/s"));
        assert_eq!(shown.last().map(String::as_str), Some("400 of 400 records (100.0 %), 200/s"));
        let mut open = Progress::with("bytes", None, false);
        open.done = 7;
        assert_eq!(open.due(open.started + Duration::from_secs(1)).as_deref(), Some("7 bytes, 7/s"));
        assert_eq!(open.due(open.started + Duration::from_secs(1)), None);
    }
}
