//! The settings of cleaning, and what the thread that cleans says while it does.

/// The settings of the cleaner, by Kafka's keys. Memory is that of all threads together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.threads`.
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`, in bytes.
    pub dedupe_buffer_size: u64,
    /// `log.cleaner.io.buffer.load.factor`: how full the map of keys may get.
    pub dedupe_buffer_load_factor: f64,
    /// `log.cleaner.io.buffer.size`, in bytes.
    pub io_buffer_size: usize,
    /// `log.cleaner.io.max.bytes.per.second`.
    pub io_max_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`.
    pub backoff_ms: u64,
}

impl Default for CleanerConfig {
    fn default() -> Self {
        CleanerConfig {
            threads: 1,
            dedupe_buffer_size: 128 << 20,
            dedupe_buffer_load_factor: 0.9,
            io_buffer_size: 512 << 10,
            io_max_bytes_per_second: f64::MAX,
            backoff_ms: 15_000,
        }
    }
}

/// What a cleaning asks of the thread that runs it.
pub trait CleanerControl {
    /// Wall clock, milliseconds since the epoch.
    fn now_ms(&self) -> i64;

    /// Called after each piece of input or output with its bytes. May sleep, to keep a rate; then it looks at
    /// `cancelled` at least every 100 ms and returns when that says so. Returns false when the thread is to stop.
    fn io(&self, bytes: usize, cancelled: &dyn Fn() -> bool) -> bool;
}
