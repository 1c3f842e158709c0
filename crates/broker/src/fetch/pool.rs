//! Threads that wait for disks, so that no thread of the runtime does: a few for each log directory, so that a slow disk
//! holds up only its own reads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use ottla_storage::dirs::DirState;
use tokio::sync::oneshot;

/// Threads of one log directory, of both kinds. More reads than this wait for each other: a disk is not faster for it.
const THREADS_PER_DIR: usize = 8;
/// Those of them that read for consumers who catch up, in large pieces: a slow disk is not to have a long queue of these
/// when somebody else wants something of it.
const CATCH_UP_THREADS_PER_DIR: usize = 2;
/// A thread that had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(10);
/// Reading ahead is left out when so many reads wait.
const BUSY: usize = 2 * CATCH_UP_THREADS_PER_DIR;
/// Compressed batches are not opened here, but for lookups by time.
const STACK_BYTES: usize = 512 * 1024;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    /// Each belongs to a request in flight, whose number is bounded.
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// Some threads of one log directory.
struct Pool {
    max_threads: usize,
    queue: Mutex<Queue>,
    arrived: Condvar,
}

/// The threads of one log directory.
struct DirPools {
    dir: Arc<DirState>,
    usual: Arc<Pool>,
    catch_up: Arc<Pool>,
}

impl Pool {
    fn new(max_threads: usize) -> Arc<Pool> {
        Arc::new(Pool { max_threads, queue: Mutex::default(), arrived: Condvar::new() })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, job: Job) {
        let mut queue = self.queue();
        queue.jobs.push_back(job);
        if queue.jobs.len() <= queue.idle || queue.threads >= self.max_threads {
            self.arrived.notify_one();
            return;
        }
        queue.threads += 1;
        drop(queue);
        let pool = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("log-read".into())
            .stack_size(STACK_BYTES)
            .spawn(move || pool.work());
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to read logs with");
            let mut queue = self.queue();
            queue.threads -= 1;
            if queue.threads == 0 {
                // Whoever waits for them is told.
                queue.jobs.clear();
            }
        }
    }

    fn work(&self) {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                // Whoever waits hears that the job is gone.
                let _ = catch_unwind(AssertUnwindSafe(job));
                queue = self.queue();
                continue;
            }
            queue.idle += 1;
            let (woken, timeout) = self
                .arrived
                .wait_timeout_while(queue, IDLE, |queue| queue.jobs.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if timeout.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

/// The threads of all log directories. They start when there is something to read and end when there is nothing.
#[derive(Default)]
pub struct ColdReaders {
    pools: RwLock<Vec<DirPools>>,
}

impl ColdReaders {
    fn pool(&self, dir: &Arc<DirState>, catch_up: bool) -> Arc<Pool> {
        let of = |pools: &[DirPools]| {
            let known = pools.iter().find(|known| Arc::ptr_eq(&known.dir, dir))?;
            Some(Arc::clone(if catch_up { &known.catch_up } else { &known.usual }))
        };
        if let Some(pool) = of(&self.pools.read().unwrap_or_else(PoisonError::into_inner)) {
            return pool;
        }
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = of(&pools) {
            return pool;
        }
        let new = DirPools {
            dir: Arc::clone(dir),
            usual: Pool::new(THREADS_PER_DIR - CATCH_UP_THREADS_PER_DIR),
            catch_up: Pool::new(CATCH_UP_THREADS_PER_DIR),
        };
        let pool = Arc::clone(if catch_up { &new.catch_up } else { &new.usual });
        pools.push(new);
        pool
    }

    /// Lets `work` wait for the disk of `dir`. It begins at once, and what is returned may be polled whenever; it
    /// fails when the work was not done.
    pub fn run<T: Send + 'static>(
        &self,
        dir: &Arc<DirState>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        Self::submit(&self.pool(dir, false), work)
    }

    /// As [`ColdReaders::run`], for a reader that catches up.
    pub fn run_catch_up<T: Send + 'static>(
        &self,
        dir: &Arc<DirState>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        Self::submit(&self.pool(dir, true), work)
    }

    fn submit<T: Send + 'static>(
        pool: &Arc<Pool>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        pool.submit(Box::new(move || {
            // A request whose connection is closed waits for nothing.
            if !done.is_closed() {
                let _ = done.send(work());
            }
        }));
        result
    }

    /// Does what nobody waits for yet, unless others wait.
    pub fn run_ahead(&self, dir: &Arc<DirState>, work: impl FnOnce() + Send + 'static) {
        let pool = self.pool(dir, true);
        let is_busy = pool.queue().jobs.len() >= BUSY;
        if !is_busy {
            pool.submit(Box::new(work));
        }
    }
}
