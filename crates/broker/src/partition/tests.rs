//! Where records have to be durable, a coordinator waits for them without holding up its thread.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;

use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_protocol::types::Uuid;
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, OsDisk};
use ottla_storage::log::{Log, LogOptions};
use ottla_storage::producer_state::VerificationGuard;
use ottla_storage::{LogConfig, LogError, TopicPartition};

use super::Partition;

const NOW_MS: i64 = 1_700_000_000_000;

/// A log directory whose thread for syncs stops at a gate before each.
struct Setup {
    _folder: tempfile::TempDir,
    state: Arc<DirState>,
    gate: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<std::thread::JoinHandle<()>>,
    partitions: Vec<Arc<Partition>>,
}

impl Setup {
    fn new(partitions: i32) -> Setup {
        let folder = tempfile::tempdir().expect("a directory");
        let state = Arc::new(DirState::new(folder.path().to_path_buf()));
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let partitions = (0..partitions)
            .map(|index| {
                let at = TopicPartition::new("t", index);
                let options = LogOptions {
                    config: LogConfig { flush_messages: 1, ..LogConfig::default() },
                    ..LogOptions::new(at, folder.path().join(format!("t-{index}")), NOW_MS)
                };
                let log = Log::open(&disk, &state, options).expect("opens");
                Arc::new(Partition::new("t".into(), Uuid::ZERO, index, log, Arc::default(), 0))
            })
            .collect();
        let gate = Arc::<(Mutex<bool>, Condvar)>::default();
        let thread = std::thread::spawn({
            let (state, gate) = (Arc::clone(&state), Arc::clone(&gate));
            // The clock is asked for the time of each sync.
            let clock = move || {
                let (open, changed) = &*gate;
                let open = open.lock().expect("the gate");
                drop(changed.wait_while(open, |open| !*open).expect("the gate"));
                NOW_MS
            };
            move || state.committer().run(clock)
        });
        while !state.committer().is_running() {
            std::thread::yield_now();
        }
        Setup { _folder: folder, state, gate, thread: Some(thread), partitions }
    }

    fn open(&self) {
        *self.gate.0.lock().expect("the gate") = true;
        self.gate.1.notify_all();
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.open();
        self.state.committer().stop();
        self.thread.take().into_iter().for_each(|thread| thread.join().expect("the thread"));
    }
}

fn batch() -> bytes::Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW_MS, Some(b"key"), Some(b"value"), []);
    builder.build().expect("builds")
}

async fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

#[tokio::test]
async fn records_of_a_coordinator_are_committed_once_they_are_durable() {
    let setup = Setup::new(1);
    let partition = &setup.partitions[0];
    let mut appended = pin!(partition.append_coordinator(batch(), NOW_MS, VerificationGuard::SENTINEL));
    for _ in 0..10 {
        assert!(poll_once(appended.as_mut()).await.is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(partition.log_end_offset(), 1);
    assert_eq!((partition.log.high_watermark(), partition.log.recovery_point()), (0, 0));
    setup.open();
    assert_eq!(appended.await.expect("appends").first_offset, 0);
    assert_eq!((partition.log.high_watermark(), partition.log.recovery_point()), (1, 1));
}

#[tokio::test]
async fn markers_are_in_all_partitions_before_any_of_them_is_waited_for() {
    let setup = Setup::new(3);
    let marker = EndTxnMarker { commit: true, coordinator_epoch: 0 };
    let written: Vec<_> =
        setup.partitions.iter().map(|partition| partition.append_marker(NOW_MS, 7, 0, marker, 0)).collect();
    assert!(setup.partitions.iter().all(|p| p.log_end_offset() == 1 && p.log.high_watermark() == 0));
    setup.open();
    for written in written {
        written.await.expect("appends");
    }
    assert!(setup.partitions.iter().all(|p| p.log.high_watermark() == 1 && p.log.recovery_point() == 1));
}

#[tokio::test]
async fn who_waits_hears_of_a_directory_that_failed() {
    let setup = Setup::new(1);
    let partition = &setup.partitions[0];
    let appended = partition.append_coordinator(batch(), NOW_MS, VerificationGuard::SENTINEL);
    setup.state.fail("a test", &std::io::Error::other("broken"));
    setup.open();
    assert!(matches!(appended.await, Err(LogError::DirOffline { .. })));
    assert_eq!(partition.log.high_watermark(), 0);

    partition.retire();
    let appended = partition.append_coordinator(batch(), NOW_MS, VerificationGuard::SENTINEL);
    assert!(matches!(appended.await, Err(LogError::Closed { .. })));
}
