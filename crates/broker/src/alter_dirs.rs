//! The thread that moves replicas between log directories: it copies, tells the controller, and swaps (KIP-113, KIP-858).
//!
//! Source: Kafka `ReplicaAlterLogDirsManager`, `ReplicaAlterLogDirsThread`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use ottla_storage::{Log, LogError, TopicPartition};

use crate::directories;
use crate::state::{Broker, wall_clock_ms};

const STACK_BYTES: usize = 512 * 1024;
/// Bytes of one copy of one partition.
const CHUNK_BYTES: usize = 1 << 20;
/// Pause when every move waits for something. Source: Kafka `replica.fetch.backoff.ms`.
const PAUSE: Duration = Duration::from_millis(100);
/// How far the thread may fall behind its rate and make up for it.
const BURST: Duration = Duration::from_secs(1);

/// Whether the thread runs. It ends when nothing is left to move.
#[derive(Debug, Default)]
pub struct ReplicaMover {
    running: Mutex<bool>,
}

impl ReplicaMover {
    /// Lets the moves that were begun go on. Call it from within the runtime.
    pub fn wake(&self, broker: &Arc<Broker>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if *running || broker.partitions.log_dirs().futures().is_empty() {
            return;
        }
        let (broker, runtime) = (Arc::downgrade(broker), tokio::runtime::Handle::current());
        let spawned = std::thread::Builder::new()
            .name("alter-dirs".into())
            .stack_size(STACK_BYTES)
            .spawn(move || Mover { broker, runtime, paused: BTreeSet::new(), stuck: BTreeSet::new() }.run());
        match spawned {
            Ok(_) => *running = true,
            Err(error) => tracing::error!(%error, "cannot start the thread that moves replicas"),
        }
    }

    /// Whether the thread may end. What is begun after that wakes another one.
    fn may_end(&self, broker: &Broker) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = broker.is_stopping() || broker.partitions.log_dirs().futures().is_empty();
        *running = !ends;
        ends
    }
}

struct Mover {
    broker: Weak<Broker>,
    runtime: tokio::runtime::Handle,
    /// Logs whose cleaning waits for their move.
    paused: BTreeSet<TopicPartition>,
    /// Moves that do not get on, which has been said.
    stuck: BTreeSet<TopicPartition>,
}

impl Mover {
    fn run(mut self) {
        // When what was copied so far was due at the rate.
        let mut due = Instant::now();
        while let Some(broker) = self.broker.upgrade() {
            self.pause_cleaning(&broker);
            if broker.mover.may_end(&broker) {
                return;
            }
            let rate = broker.config.load().get_long("replica.alter.log.dirs.io.max.bytes.per.second");
            let mut advanced = false;
            if due > Instant::now() {
                drop(broker);
                std::thread::sleep(PAUSE.min(due.saturating_duration_since(Instant::now())));
                continue;
            }
            for future in broker.partitions.log_dirs().futures() {
                match self.step(&broker, &future) {
                    Ok(bytes) => {
                        advanced |= bytes > 0;
                        if bytes > 0 {
                            self.stuck.remove(future.partition());
                        }
                        let seconds = (bytes as f64 / rate.max(1) as f64).min(86_400.0);
                        let earliest = Instant::now().checked_sub(BURST).unwrap_or(due);
                        due = due.max(earliest) + Duration::from_secs_f64(seconds);
                    }
                    Err(LogError::DirOffline { .. } | LogError::Closed { .. }) => {}
                    Err(error) => {
                        if self.stuck.insert(future.partition().clone()) {
                            tracing::warn!(partition = %future.partition(), %error, "a replica cannot be moved yet");
                        }
                    }
                }
            }
            drop(broker);
            if !advanced {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// A log is not cleaned while it is copied.
    fn pause_cleaning(&mut self, broker: &Broker) {
        let log_dirs = broker.partitions.log_dirs();
        let moving: BTreeSet<TopicPartition> =
            log_dirs.futures().iter().map(|log| log.partition().clone()).collect();
        for partition in moving.difference(&self.paused) {
            log_dirs.abort_and_pause_cleaning(partition);
        }
        for partition in self.paused.difference(&moving) {
            log_dirs.resume_cleaning(partition);
        }
        self.stuck.retain(|partition| moving.contains(partition));
        self.paused = moving;
    }

    /// Copies a piece; when the copy has caught up, lets it take the place of the original. Returns the bytes.
    fn step(&self, broker: &Arc<Broker>, future: &Log) -> Result<usize, LogError> {
        let log_dirs = broker.partitions.log_dirs();
        let partition = future.partition();
        if future.dir_state().is_offline() {
            return Ok(0);
        }
        let Some(copied) = log_dirs.copy_some(partition, CHUNK_BYTES, wall_clock_ms())? else {
            return Ok(0);
        };
        if !copied.caught_up {
            return Ok(copied.bytes);
        }
        let (Some(topic_id), Some(dir)) =
            (future.topic_id(), broker.partitions.directory_id(future.dir_state().path()))
        else {
            return Ok(copied.bytes);
        };
        let known = broker.image.load().topics.partition(&topic_id, partition.partition).cloned();
        let Some(known) = known else { return Ok(copied.bytes) };
        if known.directory_of(broker.node_id) != Some(dir) {
            // The controller has to know where the replica is before it is there: when that directory fails then, the
            // broker may not be able to tell any more.
            let placed = vec![(topic_id, partition.partition, dir)];
            if !self.runtime.block_on(directories::report(broker, placed)) {
                return Ok(copied.bytes);
            }
            log_dirs.copy_some(partition, CHUNK_BYTES, wall_clock_ms())?;
        }
        // What is left to be made durable while appends wait is little then.
        future.flush(wall_clock_ms())?;
        log_dirs.copy_some(partition, CHUNK_BYTES, wall_clock_ms())?;
        let _in_runtime = self.runtime.enter();
        if let Some(applied) = broker.partitions.finish_move(&topic_id, partition)? {
            crate::controller::elections(broker, &applied);
            tracing::info!(%partition, "moved a replica to another directory");
        }
        Ok(copied.bytes)
    }
}
