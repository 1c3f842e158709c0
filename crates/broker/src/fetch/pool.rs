//! Threads that wait for disks, so that no thread of the runtime does: a few for each log directory, so that a slow disk
//! holds up only its own reads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use ottla_storage::dirs::DirState;
use tokio::sync::oneshot;

/// Threads of one log directory. More reads than this wait for each other: a disk is not faster for it.
const THREADS_PER_DIR: usize = 8;
/// A thread that had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(10);
/// Reading ahead is left out when so many reads wait.
const BUSY: usize = THREADS_PER_DIR;
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

/// The threads of one log directory.
#[derive(Default)]
struct Pool {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

impl Pool {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, job: Job) {
        let mut queue = self.queue();
        queue.jobs.push_back(job);
        if queue.jobs.len() <= queue.idle || queue.threads >= THREADS_PER_DIR {
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
    pools: RwLock<Vec<(Arc<DirState>, Arc<Pool>)>>,
}

impl ColdReaders {
    fn pool(&self, dir: &Arc<DirState>) -> Arc<Pool> {
        let of = |pools: &[(Arc<DirState>, Arc<Pool>)]| {
            pools.iter().find(|(known, _)| Arc::ptr_eq(known, dir)).map(|(_, pool)| Arc::clone(pool))
        };
        if let Some(pool) = of(&self.pools.read().unwrap_or_else(PoisonError::into_inner)) {
            return pool;
        }
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        of(&pools).unwrap_or_else(|| {
            let pool = Arc::<Pool>::default();
            pools.push((Arc::clone(dir), Arc::clone(&pool)));
            pool
        })
    }

    /// Lets `work` wait for the disk of `dir`. It begins at once, and what is returned may be polled whenever; it
    /// fails when the work was not done.
    pub fn run<T: Send + 'static>(
        &self,
        dir: &Arc<DirState>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        self.pool(dir).submit(Box::new(move || {
            // A request whose connection is closed waits for nothing.
            if !done.is_closed() {
                let _ = done.send(work());
            }
        }));
        result
    }

    /// Does what nobody waits for, unless others wait.
    pub fn run_ahead(&self, dir: &Arc<DirState>, work: impl FnOnce() + Send + 'static) {
        let pool = self.pool(dir);
        let is_busy = pool.queue().jobs.len() >= BUSY;
        if !is_busy {
            pool.submit(Box::new(work));
        }
    }
}
