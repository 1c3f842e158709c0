//! Timers of waiting fetches that are used again.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, Sleep};

/// Timers that are kept for the next fetch.
const MAX_SPARE: usize = 1024;

/// Waits with a deadline that nearly never passes, thousands in a second.
///
/// A timer that is made anew is put into the runtime's wheel under its lock, wakes the thread that sleeps until the timer
/// due first, and is taken out again. One that is only put off costs none of that: so a timer stays in the wheel when the
/// wait is over, and the next fetch puts it off.
#[derive(Debug, Default)]
pub struct Deadlines {
    spare: Mutex<Vec<Pin<Box<Sleep>>>>,
}

impl Deadlines {
    /// What `future` gives; None when `deadline` passes before.
    pub async fn before<F: Future>(&self, deadline: Instant, future: F) -> Option<F::Output> {
        let mut timer = self.lend(deadline);
        tokio::select! {
            biased;
            output = future => Some(output),
            () = timer.passes() => None,
        }
    }

    fn lend(&self, deadline: Instant) -> Lent<'_> {
        let kept = self.spare().pop();
        let sleep = match kept {
            Some(mut sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            None => Box::pin(tokio::time::sleep_until(deadline)),
        };
        Lent { sleep: Some(sleep), owner: self }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Pin<Box<Sleep>>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A timer that goes back however the wait ends.
struct Lent<'a> {
    /// None only while it goes back.
    sleep: Option<Pin<Box<Sleep>>>,
    owner: &'a Deadlines,
}

impl Lent<'_> {
    async fn passes(&mut self) {
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().await;
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut spare = self.owner.spare();
        if spare.len() < MAX_SPARE {
            spare.extend(self.sleep.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_deadline_passes_when_it_is_due() {
        let deadlines = Deadlines::default();
        for wait_ms in [30, 10, 50, 1] {
            let began = Instant::now();
            let wait = Duration::from_millis(wait_ms);
            assert_eq!(deadlines.before(began + wait, std::future::pending::<()>()).await, None);
            assert!(began.elapsed() >= wait);
        }
        assert_eq!(deadlines.spare().len(), 1, "one at a time needs one timer");
    }

    #[tokio::test]
    async fn what_comes_before_the_deadline_is_given() {
        let deadlines = Deadlines::default();
        for _ in 0..3 {
            let soon = tokio::time::sleep(Duration::from_millis(10));
            assert_eq!(deadlines.before(Instant::now() + LONG, soon).await, Some(()));
        }
        // The timer that was left in the wheel for an hour is put forward.
        let short = Duration::from_millis(20);
        let wait = deadlines.before(Instant::now() + short, std::future::pending::<()>());
        assert_eq!(tokio::time::timeout(LONG / 60, wait).await, Ok(None));
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_leaves_its_timer() {
        let deadlines = Deadlines::default();
        let wait = deadlines.before(Instant::now() + LONG, std::future::pending::<()>());
        assert!(tokio::time::timeout(Duration::from_millis(1), wait).await.is_err());
        assert_eq!(deadlines.spare().len(), 1);
        let many: Vec<_> = (0..2 * MAX_SPARE).map(|_| deadlines.lend(Instant::now() + LONG)).collect();
        drop(many);
        assert_eq!(deadlines.spare().len(), MAX_SPARE);
    }
}
