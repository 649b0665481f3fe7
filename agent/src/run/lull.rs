//! When no pods come: the time for what nobody waits for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until};

/// That begins when none has come for so long,
const QUIET: Duration = Duration::from_secs(1);
/// and on a node where some always come, so long after it was wanted.
const AT_MOST: Duration = Duration::from_secs(30);

/// The right of one pod to have done what nobody waits for: all at once they would take the node's memory, and hold up
/// pods that come.
pub(super) struct Turn(OwnedMutexGuard<()>);

impl Turn {
    /// Whether nobody else is waiting: who does has a hold of the lock too, beside the lull and this turn.
    pub(super) fn is_last(&self) -> bool {
        Arc::strong_count(OwnedMutexGuard::mutex(&self.0)) == 2
    }
}

/// Knows when the last pod came into the mesh, and whose turn it is.
#[derive(Debug)]
pub(super) struct Lull {
    last: Mutex<Instant>,
    turns: Arc<AsyncMutex<()>>,
}

impl Lull {
    pub(super) fn new() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            turns: Arc::default(),
        }
    }

    /// A pod comes.
    pub(super) fn end(&self) {
        *self.last() = Instant::now();
    }

    /// Waits for a time for what has been wanted since then, and for one's turn.
    pub(super) async fn turn(&self, since: Instant) -> Turn {
        loop {
            sleep_until(self.begins(since)).await;
            let turn = self.turns.clone().lock_owned().await;
            if self.begins(since) <= Instant::now() {
                return Turn(turn);
            }
        }
    }

    fn begins(&self, since: Instant) -> Instant {
        begins(since, *self.last())
    }

    /// A panic elsewhere leaves a whole time behind.
    fn last(&self) -> MutexGuard<'_, Instant> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begins(since: Instant, last: Instant) -> Instant {
    let quiet = since.max(last) + QUIET;
    quiet.min(since + AT_MOST)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{AT_MOST, Lull, QUIET, begins};

    #[test]
    fn it_begins_when_no_pod_has_come_for_a_while() {
        let since = Instant::now();
        let last = since + 3 * QUIET;
        assert_eq!(begins(since, last), last + QUIET);
    }

    #[test]
    fn what_is_wanted_in_it_waits_a_while_too() {
        let last = Instant::now();
        let since = last + 3 * QUIET;
        assert_eq!(begins(since, last), since + QUIET);
    }

    #[test]
    fn it_comes_even_if_pods_always_come() {
        let since = Instant::now();
        let last = since + 2 * AT_MOST;
        assert_eq!(begins(since, last), since + AT_MOST);
    }

    #[test]
    fn a_pod_that_comes_ends_it() {
        let lull = Lull::new();
        let before = *lull.last();
        lull.end();
        assert!(*lull.last() > before);
    }
}
