//! Durable acknowledgements: many appends share a sync, none is acknowledged before it, and a failed one fails them all.

mod hooked_disk;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};

use hooked_disk::{HookedDisk, Hooks};
use ottla_protocol::records::{BatchBuilder, BatchOptions};
use ottla_storage::dirs::DirState;
use ottla_storage::disk::Disk;
use ottla_storage::log::{AppendOptions, Log, LogOptions};
use ottla_storage::producer_state::AppendOrigin;
use ottla_storage::{LogConfig, LogError, TopicPartition};

const NOW_MS: i64 = 1_700_000_000_000;

/// Syncs of `.log` files wait here while the gate is shut.
#[derive(Debug, Default)]
struct Gate {
    shut: Mutex<bool>,
    changed: Condvar,
    syncs: AtomicUsize,
    entered: AtomicUsize,
    broken: AtomicBool,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.shut.lock().expect("no panic") = shut;
        self.changed.notify_all();
    }

    fn pass(&self) -> io::Result<()> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        let mut shut = self.shut.lock().expect("no panic");
        while *shut {
            shut = self.changed.wait(shut).expect("no panic");
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) { Err(io::Error::other("input/output error")) } else { Ok(()) }
    }
}

impl Hooks for Gate {
    fn syncing(&self, path: &Path) -> io::Result<()> {
        if path.extension().is_some_and(|e| e == "log") { self.pass() } else { Ok(()) }
    }
}

struct Setup {
    _folder: tempfile::TempDir,
    gate: Arc<Gate>,
    state: Arc<DirState>,
    log: Arc<Log>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Setup {
    fn new(flush_messages: i64) -> Setup {
        let folder = tempfile::tempdir().expect("a directory");
        let gate = Arc::new(Gate::default());
        let disk: Arc<dyn Disk> = Arc::new(HookedDisk(Arc::clone(&gate)));
        let state = Arc::new(DirState::new(folder.path().to_path_buf()));
        let options = LogOptions {
            config: LogConfig { flush_messages, ..LogConfig::default() },
            ..LogOptions::new(TopicPartition::new("t", 0), folder.path().join("t-0"), NOW_MS)
        };
        let log = Log::open(&disk, &state, options).expect("opens");
        let (ready, started) = mpsc::channel();
        let serving = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            ready.send(()).expect("the test waits");
            serving.committer().run(|| NOW_MS);
        });
        started.recv().expect("starts");
        while !state.committer().is_running() {
            std::thread::yield_now();
        }
        Setup { _folder: folder, gate, state, log, thread: Some(thread) }
    }

    fn append(&self, sequence: i32) -> Result<ottla_storage::log::AppendInfo, LogError> {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: 1,
            producer_epoch: 0,
            base_sequence: sequence,
            ..BatchOptions::default()
        });
        builder.append(NOW_MS, None, Some(b"value"), []);
        let bytes = builder.build().expect("builds").to_vec();
        let options =
            AppendOptions { defer_commit: true, ..AppendOptions::new(AppendOrigin::Client, 0, NOW_MS) };
        self.log.append_as_leader(&bytes, &options)
    }

    fn submit(&self, offset: i64) -> mpsc::Receiver<Result<(), LogError>> {
        let (done, wait) = mpsc::channel();
        let committed = Box::new(move |result| {
            let _ = done.send(result);
        });
        self.state.committer().submit(&self.log, offset, Some(committed));
        wait
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.gate.set(false);
        self.state.committer().stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
    }
}

#[test]
fn appends_that_wait_together_share_a_sync() {
    let setup = Setup::new(1);
    setup.gate.set(true);
    let mut waits = Vec::new();
    for sequence in 0..20 {
        let info = setup.append(sequence).expect("appends");
        assert!(info.commit_due, "the caller has to wait");
        waits.push(setup.submit(info.last_offset + 1));
        if sequence == 0 {
            while setup.gate.entered.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
        }
    }
    assert!(waits.iter().all(|wait| wait.try_recv().is_err()), "nothing is acknowledged before the sync");
    assert_eq!(setup.log.recovery_point(), 0);
    // A retry that arrives while the first attempt waits is not durable either.
    let retry = setup.append(19).expect("a duplicate");
    assert!(retry.duplicate && retry.commit_due);
    setup.gate.set(false);
    for wait in waits {
        wait.recv().expect("is called").expect("is durable");
    }
    assert_eq!(setup.log.recovery_point(), 20);
    assert_eq!(setup.gate.syncs.load(Ordering::SeqCst), 2, "one for the first, one for all others");
    assert!(!setup.append(19).expect("a duplicate").commit_due, "by now it is durable");
}

/// A connection answers in order: were the first answer given first, it would go out alone.
#[test]
fn the_answers_of_a_sync_are_given_from_the_last_to_the_first() {
    let setup = Setup::new(1);
    setup.gate.set(true);
    let (answered, order) = mpsc::channel();
    for sequence in 0..4 {
        let offset = setup.append(sequence).expect("appends").last_offset + 1;
        let answered = answered.clone();
        let committed = Box::new(move |_| answered.send(sequence).expect("the test waits"));
        setup.state.committer().submit(&setup.log, offset, Some(committed));
        if sequence == 0 {
            while setup.gate.entered.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
        }
    }
    setup.gate.set(false);
    assert_eq!(order.iter().take(4).collect::<Vec<_>>(), [0, 3, 2, 1], "the first has a sync of its own");
}

#[test]
fn a_failed_sync_fails_everybody_who_waits_and_the_directory() {
    let setup = Setup::new(1);
    setup.gate.set(true);
    setup.gate.broken.store(true, Ordering::SeqCst);
    let mut waits = Vec::new();
    for sequence in 0..3 {
        let info = setup.append(sequence).expect("appends");
        waits.push(setup.submit(info.last_offset + 1));
    }
    setup.gate.set(false);
    for wait in waits {
        assert!(wait.recv().expect("is called").is_err());
    }
    assert!(setup.state.is_offline());
    setup.gate.broken.store(false, Ordering::SeqCst);
    assert_eq!(setup.log.recovery_point(), 0, "nothing is ever taken for durable");
    assert!(setup.append(3).is_err());
    let late = setup.submit(3);
    assert!(late.recv().expect("is called").is_err(), "a later sync does not make it good");
}

#[test]
fn without_a_thread_an_append_syncs_by_itself() {
    let setup = Setup::new(1);
    setup.state.committer().stop();
    let info = setup.append(0).expect("appends");
    assert!(!info.commit_due);
    assert_eq!(setup.log.recovery_point(), 1);
}

#[test]
fn too_many_bytes_that_are_not_durable_ask_for_a_sync_once() {
    let setup = Setup::new(i64::MAX);
    setup.state.set_max_unflushed_bytes(200);
    let asked: Vec<bool> =
        (0..10).map(|sequence| setup.append(sequence).expect("appends").flush_due).collect();
    assert_eq!(asked.iter().filter(|asked| **asked).count(), 1);
    assert!(setup.log.unflushed_bytes() > 200);
    let (done, wait) = mpsc::channel();
    let committed = Box::new(move |_| done.send(()).expect("the test waits"));
    setup.state.committer().submit(&setup.log, setup.log.log_end_offset(), Some(committed));
    wait.recv().expect("is synced");
    assert_eq!((setup.log.unflushed_bytes(), setup.log.recovery_point()), (0, 10));
    assert!((10..20).any(|sequence| setup.append(sequence).expect("appends").flush_due), "and again");
}
