//! Group commit: one thread per log directory makes appends durable, all those that wait together.
//!
//! While a sync is under way further appends join the queue; the next round serves all of them with one sync per log.
//! The order is fixed: an append returns, [`Committer::submit`] queues it, and only after the sync the callback runs,
//! which moves the high watermark and answers the producer. A sync that fails takes the directory offline, and whoever
//! waits for any of its logs hears of it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::error::LogError;
use crate::log::Log;

/// Syncs of different logs that run at the same time; a journalling file system commits them together.
const MAX_PARALLEL_SYNCS: usize = 8;

/// The longest that a round waits for producers that the round before has just answered.
const MAX_GATHER: Duration = Duration::from_millis(2);
/// What it waits besides the time that a sync takes: an answer goes out over loopback and the next requests come.
const ROUND_TRIP: Duration = Duration::from_micros(300);
/// After so many waits in vain rounds begin at once, but for every [`RETRY_ROUNDS`]th.
const MAX_MISSES: u32 = 4;
const RETRY_ROUNDS: u64 = 16;

/// Called once the records are durable, or never will be.
pub type Committed = Box<dyn FnOnce(Result<(), LogError>) + Send>;

struct Waiting {
    log: Arc<Log>,
    /// The records below are to be made durable.
    offset: i64,
    committed: Vec<Committed>,
}

impl Waiting {
    /// Everything below offset 0 is durable always: so is asked for a call of [`Log::start_writeback`] alone.
    fn is_writeback(&self) -> bool {
        self.offset == 0
    }
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Appends that somebody waits for.
    appends: usize,
    /// As many are waited for; fewer wake nobody.
    wanted: usize,
    running: bool,
    stopped: bool,
}

/// How many appends a round waits for, and how long.
///
/// Producers that keep several requests in flight send the next when they are answered. Without a pause a round would
/// serve those that came during the sync before, and the others would come during this one: each sync would be shared by
/// half of them. So a round waits a moment for as many as there were; it begins at once when that has not worked lately,
/// and always for a lone producer.
#[derive(Debug, Default)]
struct Pace {
    expected: usize,
    patience: Duration,
    misses: u32,
    rounds: u64,
}

impl Pace {
    /// The appends that the next round waits for, and the longest that it waits; None when it begins at once.
    fn next_round(&mut self) -> Option<(usize, Duration)> {
        self.rounds += 1;
        let worth_it = self.misses < MAX_MISSES || self.rounds.is_multiple_of(RETRY_ROUNDS);
        (self.expected > 1 && worth_it).then_some((self.expected, self.patience))
    }

    /// `served` appends shared the round's syncs, which took so long; `arrived` came meanwhile.
    fn round_done(&mut self, gathered: bool, served: usize, arrived: usize, took: Duration) {
        if gathered {
            self.misses = if served < self.expected { (self.misses + 1).min(MAX_MISSES) } else { 0 };
        }
        // A round for logs that nobody waits for says nothing about those who do.
        if served > 0 {
            // Those that were served, and those that came meanwhile: all that write at this time.
            self.expected = served + arrived;
            self.patience = (took + ROUND_TRIP).min(MAX_GATHER);
        }
    }
}

/// The queue of one log directory.
#[derive(Default)]
pub struct Committer {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Committer")
    }
}

impl Committer {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether a thread serves the queue. Without one, appends are made durable by those who append.
    pub fn is_running(&self) -> bool {
        let queue = self.queue();
        queue.running && !queue.stopped
    }

    /// Queues the records of `log` below `offset`. The queue holds one entry per log, and one callback per append:
    /// requests in flight bound it.
    pub fn submit(&self, log: &Arc<Log>, offset: i64, committed: Option<Committed>) {
        let mut queue = self.queue();
        if queue.stopped || !queue.running {
            drop(queue);
            let result = log.flush_up_to(offset, log.last_flush_ms());
            if let Some(committed) = committed {
                committed(result);
            }
            return;
        }
        queue.appends += usize::from(committed.is_some());
        match queue.waiting.iter_mut().find(|waiting| Arc::ptr_eq(&waiting.log, log)) {
            Some(waiting) => {
                waiting.offset = waiting.offset.max(offset);
                waiting.committed.extend(committed);
            }
            None => queue.waiting.push(Waiting {
                log: Arc::clone(log),
                offset,
                committed: committed.into_iter().collect(),
            }),
        }
        let enough = queue.appends >= queue.wanted;
        drop(queue);
        if enough {
            self.arrived.notify_one();
        }
    }

    /// Queues a call of [`Log::start_writeback`].
    pub fn submit_writeback(&self, log: &Arc<Log>) {
        self.submit(log, 0, None);
    }

    /// Serves the queue until [`Committer::stop`]. To be called on a thread of its own; `now_ms` is the clock.
    ///
    /// A round waits a moment for as many appends as are usual; see [`Pace`].
    pub fn run(&self, now_ms: impl Fn() -> i64 + Sync) {
        self.queue().running = true;
        let mut pace = Pace::default();
        loop {
            let awaited = pace.next_round();
            let mut queue = self.queue();
            // Those who were answered are on their way: the first of them need not wake this thread.
            if let Some((expected, patience)) = awaited {
                queue = self.gather(queue, expected, patience);
            }
            let was_idle = queue.waiting.is_empty();
            while queue.waiting.is_empty() {
                if queue.stopped {
                    queue.running = false;
                    return;
                }
                queue = self.arrived.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
            }
            if let (Some((expected, patience)), true) = (awaited, was_idle) {
                queue = self.gather(queue, expected, patience);
            }
            let served = std::mem::take(&mut queue.appends);
            let round = std::mem::take(&mut queue.waiting);
            drop(queue);
            let begun = Instant::now();
            let arrived = self.commit(round, &now_ms);
            pace.round_done(awaited.is_some(), served, arrived, begun.elapsed());
        }
    }

    /// Waits until so many appends wait, at most `patience`.
    fn gather<'q>(
        &self,
        mut queue: MutexGuard<'q, Queue>,
        expected: usize,
        patience: Duration,
    ) -> MutexGuard<'q, Queue> {
        queue.wanted = expected;
        let missing = |queue: &mut Queue| queue.appends < expected && !queue.stopped;
        let waited = self.arrived.wait_timeout_while(queue, patience, missing);
        let (mut queue, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        queue.wanted = 0;
        queue
    }

    /// Returns how many appends came before the first was answered: who is answered may append again at once, and would
    /// be counted twice.
    fn commit(&self, round: Vec<Waiting>, now_ms: &(impl Fn() -> i64 + Sync)) -> usize {
        let (writebacks, round): (Vec<_>, Vec<_>) = round.into_iter().partition(Waiting::is_writeback);
        let arrived = self.sync(round, now_ms);
        // Behind the syncs, for which somebody waits.
        writebacks.iter().for_each(|waiting| waiting.log.start_writeback());
        arrived
    }

    fn sync(&self, mut round: Vec<Waiting>, now_ms: &(impl Fn() -> i64 + Sync)) -> usize {
        let arrived = OnceLock::new();
        let one = |waiting: Waiting| {
            let mut failed = waiting.log.flush_up_to(waiting.offset, now_ms()).err();
            arrived.get_or_init(|| self.queue().appends);
            // The last first: a connection sends its answers in order, so when it wakes for the first of several they are all
            // there and leave together.
            for committed in waiting.committed.into_iter().rev() {
                // One hears what happened, the others that the directory is offline.
                let offline = || waiting.log.offline_error();
                committed(failed.take().map_or(Ok(()), |error| {
                    failed = Some(offline());
                    Err(error)
                }));
            }
        };
        if round.len() <= 1 {
            round.drain(..).for_each(one);
            return arrived.into_inner().unwrap_or(0);
        }
        let threads = round.len().min(MAX_PARALLEL_SYNCS);
        let jobs = Mutex::new(round);
        let work = || {
            loop {
                let next = jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
                match next {
                    Some(waiting) => one(waiting),
                    None => return,
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        arrived.into_inner().unwrap_or(0)
    }

    /// Lets [`Committer::run`] return when the queue is empty. What is submitted later is made durable by its caller.
    pub fn stop(&self) {
        self.queue().stopped = true;
        self.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(200);

    fn round(pace: &mut Pace, served: usize, arrived: usize) -> Option<usize> {
        let awaited = pace.next_round();
        pace.round_done(awaited.is_some(), served, arrived, SYNC);
        awaited.map(|(expected, _)| expected)
    }

    #[test]
    fn a_round_waits_for_those_of_the_one_before() {
        let mut pace = Pace::default();
        assert_eq!(round(&mut pace, 1, 4), None);
        assert_eq!(pace.next_round(), Some((5, SYNC + ROUND_TRIP)));
        pace.round_done(true, 5, 0, Duration::from_secs(1));
        assert_eq!(pace.next_round(), Some((5, MAX_GATHER)));
        assert_eq!(round(&mut pace, 1, 0), Some(5));
        assert_eq!(round(&mut pace, 1, 0), None, "a lone producer waits for nobody");
    }

    #[test]
    fn a_round_that_nobody_waits_for_changes_nothing() {
        let mut pace = Pace::default();
        round(&mut pace, 5, 0);
        assert_eq!(round(&mut pace, 0, 3), Some(5));
        assert_eq!(pace.next_round(), Some((5, SYNC + ROUND_TRIP)));
    }

    #[test]
    fn waiting_in_vain_is_given_up_and_tried_again() {
        let mut pace = Pace::default();
        // Two that never come together: each round serves one, and the other comes during its sync.
        let waited: Vec<bool> = (0..64).map(|_| round(&mut pace, 1, 1).is_some()).collect();
        let so_often = waited.iter().filter(|waited| **waited).count();
        assert_eq!(so_often, MAX_MISSES as usize + 63 / RETRY_ROUNDS as usize + 1, "{waited:?}");
        // Once they do, each round waits again.
        let found = (0..RETRY_ROUNDS).find(|_| round(&mut pace, 2, 0).is_some());
        assert!(found.is_some());
        assert_eq!(round(&mut pace, 2, 0), Some(2));
    }
}
