//! How many events the node may make.

use std::time::Duration;

use tokio::time::Instant;

/// Events that may come together.
const BURST: u32 = 20;
/// How often one more may come.
const REFILL: Duration = Duration::from_secs(3);

/// A purse that fills by itself.
#[derive(Debug)]
pub(super) struct Budget {
    /// When the purse was, or will be, empty.
    empty_at: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            empty_at: now.checked_sub(REFILL * BURST).unwrap_or(now),
        }
    }

    /// When the next event may be.
    pub(super) fn next(&self) -> Instant {
        self.empty_at + REFILL
    }

    pub(super) fn spend(&mut self, now: Instant) {
        let fullest = now.checked_sub(REFILL * BURST).unwrap_or(now);
        self.empty_at = self.empty_at.max(fullest) + REFILL;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{BURST, Budget, REFILL};

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let begun = Instant::now() + REFILL * 1000;
        let mut budget = Budget::new(begun);
        for now in [begun, begun + REFILL * BURST * 7] {
            let mut spent = 0;
            while budget.next() <= now {
                budget.spend(now);
                spent += 1;
            }
            assert_eq!(spent, BURST);
            assert_eq!(budget.next(), now + REFILL);
        }
    }
}
