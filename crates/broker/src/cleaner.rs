//! The cleaner threads: they call what storage does of compaction, at the rate and with the pauses of the configuration.
//!
//! Source: Kafka `LogCleaner`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_metadata::config::StaticConfig;
use ottla_storage::cleaner::{
    CleanError, Cleaner, CleanerConfig, CleanerControl, CleanerStats, PreCleanStats, Throttle,
};
use ottla_storage::dirs::{Cleaning, LogDirs};

use crate::metrics::Exposition;
use crate::state::{random_uuid, wall_clock_ms};

/// Compression and its tables live on the heap.
const STACK_BYTES: usize = 512 * 1024;
/// How often a thread that sleeps to keep its rate looks up.
const NAP: Duration = Duration::from_millis(100);
/// The least pause of a thread that finds nothing to do, whatever the configuration says.
const MIN_BACKOFF: Duration = Duration::from_millis(10);

/// The cleaner threads of a broker.
#[derive(Debug, Default)]
pub struct LogCleaner {
    inner: Mutex<Option<Running>>,
    /// Nothing is started any more.
    stopped: AtomicBool,
}

#[derive(Debug)]
struct Running {
    config: CleanerConfig,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads of one configuration share.
#[derive(Debug)]
struct Shared {
    stopping: AtomicBool,
    /// Woken when the threads are to stop.
    stop: Condvar,
    sleeping: Mutex<()>,
    throttle: Mutex<Throttle>,
    began: Instant,
    last: Mutex<Vec<(CleanerStats, PreCleanStats)>>,
    dead: AtomicUsize,
    io_bytes: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cleaner's part of the configuration.
pub fn cleaner_config(config: &StaticConfig) -> CleanerConfig {
    let enabled = config.get_bool("log.cleaner.enable");
    CleanerConfig {
        threads: if enabled { config.get_int("log.cleaner.threads").max(0) as usize } else { 0 },
        dedupe_buffer_size: config.get_long("log.cleaner.dedupe.buffer.size").max(0) as u64,
        dedupe_buffer_load_factor: config.get_double("log.cleaner.io.buffer.load.factor"),
        io_buffer_size: config.get_int("log.cleaner.io.buffer.size").max(0) as usize,
        io_max_bytes_per_second: config.get_double("log.cleaner.io.max.bytes.per.second"),
        backoff_ms: config.get_long("log.cleaner.backoff.ms").max(0) as u64,
    }
}

impl LogCleaner {
    /// Lets as many threads run as the configuration says. When it changed, the threads end and others start, as in
    /// Kafka; what was being cleaned is begun again.
    pub fn apply(&self, config: &StaticConfig, log_dirs: &Arc<LogDirs>) {
        let config = cleaner_config(config);
        let mut inner = lock(&self.inner);
        if self.stopped.load(Ordering::Acquire)
            || inner.as_ref().is_some_and(|running| running.config == config)
        {
            return;
        }
        if let Some(running) = inner.take() {
            tracing::info!(?config, "the configuration of the log cleaner changed");
            running.stop();
        }
        *inner = Some(Running::start(config, log_dirs));
    }

    /// Stops the threads for good and waits for them, which takes the time of one piece of input or output.
    pub fn stop(&self) {
        let mut inner = lock(&self.inner);
        self.stopped.store(true, Ordering::Release);
        if let Some(running) = inner.take() {
            running.stop();
        }
    }

    /// Kafka's LogCleaner and LogCleanerManager metrics.
    pub fn render(&self, out: &mut Exposition, log_dirs: &LogDirs) {
        let (mut utilization, mut seconds, mut delay_ms) = (0.0f64, 0.0f64, 0);
        let (mut read, mut written, mut dead, mut io_bytes) = (0, 0, 0, 0);
        if let Some(running) = &*lock(&self.inner) {
            for (stats, pre) in lock(&running.shared.last).iter() {
                utilization = utilization.max(stats.buffer_utilization);
                seconds = seconds.max(stats.elapsed_secs());
                delay_ms = delay_ms.max(pre.max_compaction_delay_ms);
                read += stats.bytes_read;
                written += stats.bytes_written;
            }
            dead = running.shared.dead.load(Ordering::Relaxed);
            io_bytes = running.shared.io_bytes.load(Ordering::Relaxed);
        }
        let recopied = 100.0 * written as f64 / read.max(1) as f64;
        out.gauge("kafka_log_logcleaner_max_buffer_utilization_percent", &[], (100.0 * utilization) as i64);
        out.gauge("kafka_log_logcleaner_cleaner_recopy_percent", &[], recopied as i64);
        out.gauge("kafka_log_logcleaner_max_clean_time_secs", &[], seconds as i64);
        out.gauge("kafka_log_logcleaner_max_compaction_delay_secs", &[], delay_ms / 1000);
        out.gauge("kafka_log_logcleaner_deadthreadcount", &[], dead);
        out.counter("kafka_utils_throttler_cleaner_io_total", &[], io_bytes);
        let now_ms = wall_clock_ms();
        let status = log_dirs.cleaner_status(now_ms);
        for logs in &status.uncleanable {
            let dir = logs.dir.display();
            out.gauge(
                "kafka_log_logcleanermanager_uncleanable_partitions_count",
                &[("logDirectory", &dir)],
                logs.partitions.len(),
            );
        }
        for logs in &status.uncleanable {
            let dir = logs.dir.display();
            out.gauge("kafka_log_logcleanermanager_uncleanable_bytes", &[("logDirectory", &dir)], logs.bytes);
        }
        let dirty = (100.0 * status.dirtiest_ratio) as i64;
        out.gauge("kafka_log_logcleanermanager_max_dirty_percent", &[], dirty);
        if status.last_run_ms > 0 {
            let since = (now_ms - status.last_run_ms).max(0);
            out.gauge("kafka_log_logcleanermanager_time_since_last_run_ms", &[], since);
        }
    }
}

impl Running {
    fn start(config: CleanerConfig, log_dirs: &Arc<LogDirs>) -> Running {
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            stop: Condvar::new(),
            sleeping: Mutex::new(()),
            throttle: Mutex::new(Throttle::new(config.io_max_bytes_per_second, 0)),
            began: Instant::now(),
            last: Mutex::new(vec![Default::default(); config.threads]),
            dead: AtomicUsize::new(0),
            io_bytes: AtomicU64::new(0),
        });
        let mut threads = Vec::new();
        for id in 0..config.threads {
            let (shared, log_dirs) = (Arc::clone(&shared), Arc::clone(log_dirs));
            let name = format!("cleaner-{id}");
            let spawned = std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || {
                let work = AssertUnwindSafe(|| shared.work(id, &config, &log_dirs));
                if catch_unwind(work).is_err() {
                    shared.dead.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        id,
                        "a cleaner thread ended by a bug; its partition is not cleaned any more"
                    );
                }
            });
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(error) => tracing::error!(%error, "cannot start a cleaner thread"),
            }
        }
        Running { config, shared, threads }
    }

    fn stop(self) {
        self.shared.stopping.store(true, Ordering::Release);
        drop(lock(&self.shared.sleeping));
        self.shared.stop.notify_all();
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Sleeps, but not beyond the stop.
    fn sleep(&self, time: Duration) {
        let guard = lock(&self.sleeping);
        if !self.is_stopping() {
            let _ = self.stop.wait_timeout(guard, time);
        }
    }

    fn work(&self, id: usize, config: &CleanerConfig, log_dirs: &LogDirs) {
        let mut cleaner = Cleaner::new(config, u128::from_be_bytes(random_uuid().0));
        while !self.is_stopping() {
            let (cleaning, pre) = log_dirs.clean_filthiest(&mut cleaner, self);
            let cleaned = match &cleaning {
                Some(cleaning) => self.note(id, cleaning, &pre),
                None => false,
            };
            log_dirs.delete_old_segments_of_compacted(wall_clock_ms());
            if !cleaned {
                self.sleep(Duration::from_millis(config.backoff_ms).max(MIN_BACKOFF));
            }
        }
    }

    /// Tells of a cleaning. Returns whether another one may follow at once.
    fn note(&self, id: usize, cleaning: &Cleaning, pre: &PreCleanStats) -> bool {
        let partition = &cleaning.partition;
        match &cleaning.result {
            Ok((end, stats)) => {
                if let Some(last) = lock(&self.last).get_mut(id) {
                    *last = (*stats, *pre);
                }
                tracing::info!(
                    %partition,
                    from = cleaning.first_dirty_offset,
                    to = end,
                    bytes_read = stats.bytes_read,
                    bytes_written = stats.bytes_written,
                    records_read = stats.messages_read,
                    records_written = stats.messages_written,
                    seconds = stats.elapsed_secs(),
                    "cleaned log"
                );
                if stats.invalid_messages_read > 0 {
                    tracing::warn!(%partition, records = stats.invalid_messages_read, "dropped records without a key");
                }
                if pre.delayed_partitions > 0 {
                    tracing::info!(
                        cleanable = pre.cleanable_partitions,
                        delayed = pre.delayed_partitions,
                        max_delay_ms = pre.max_compaction_delay_ms,
                        "logs wait for longer than max.compaction.lag.ms"
                    );
                }
                true
            }
            Err(CleanError::Aborted | CleanError::Stopped) => false,
            Err(error) => {
                tracing::warn!(%partition, %error, "a log was not cleaned");
                false
            }
        }
    }
}

impl CleanerControl for Shared {
    fn now_ms(&self) -> i64 {
        wall_clock_ms()
    }

    fn io(&self, bytes: usize, cancelled: &dyn Fn() -> bool) -> bool {
        self.io_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let now_ns = self.began.elapsed().as_nanos() as u64;
        let sleep_ns = lock(&self.throttle).observe(bytes as f64, now_ns);
        let until = Instant::now() + Duration::from_nanos(sleep_ns.min(3_600_000_000_000));
        while !self.is_stopping() && !cancelled() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.sleep(left.min(NAP));
        }
        !self.is_stopping()
    }
}
