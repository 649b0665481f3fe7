//! Changes come in bursts: it is enough to look once when one is over.

use std::time::Duration;

use tokio::time::Instant;

/// A burst has ended when nothing more comes for this long,
const QUIET: Duration = Duration::from_millis(300);
/// and is not waited for any longer than this.
const LONGEST: Duration = Duration::from_secs(5);

/// A burst that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    end: Instant,
}

impl Burst {
    /// With a change that has just come.
    pub fn begin() -> Self {
        Self {
            end: Instant::now() + LONGEST,
        }
    }

    /// Until when another change is waited for; nothing once the burst has lasted too long.
    pub fn deadline(self) -> Option<Instant> {
        self.deadline_at(Instant::now())
    }

    fn deadline_at(self, now: Instant) -> Option<Instant> {
        (now < self.end).then(|| (now + QUIET).min(self.end))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Burst, LONGEST, QUIET};

    #[test]
    fn a_burst_ends_with_its_last_change_or_after_its_time() {
        let burst = Burst::begin();
        let begun = burst.end - LONGEST;
        assert_eq!(burst.deadline_at(begun), Some(begun + QUIET));
        let late = burst.end - QUIET / 2;
        assert_eq!(burst.deadline_at(late), Some(burst.end));
        assert_eq!(burst.deadline_at(burst.end), None);
        assert_eq!(burst.deadline_at(burst.end + Duration::from_secs(1)), None);
    }
}
