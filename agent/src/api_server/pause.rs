//! Growing pauses between attempts, different on every node.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The pause before the next attempt doubles with each failure, up to a bound; a random part keeps all the nodes of a
/// cluster from asking an API server that has come back at the same moment.
#[derive(Clone, Debug)]
pub struct Pause {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: RandomState,
    drawn: u64,
}

impl Pause {
    /// Begins with the shortest pause.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
            random: RandomState::new(),
            drawn: 0,
        }
    }

    /// The pause after one more failure: between half of the full one and the full one.
    pub fn after_failure(&mut self) -> Duration {
        let full = self.next;
        self.next = full.saturating_mul(2).min(self.longest);
        self.vary(full)
    }

    /// Begins again with the shortest pause.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// Begins again with the shortest pause, if what was attempted lasted at least as long as the pause that is due.
    pub fn reset_after(&mut self, lasted: Duration) {
        if lasted >= self.next {
            self.reset();
        }
    }

    /// A random time between half of `full` and `full`.
    pub fn vary(&mut self, full: Duration) -> Duration {
        self.drawn += 1;
        // The upper bits of a hash, as a fraction.
        let fraction = f64::from((self.random.hash_one(self.drawn) >> 32) as u32) / f64::from(u32::MAX);
        full.mul_f64(0.5 + fraction / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pause;

    #[test]
    fn pauses_double_up_to_the_bound_and_differ() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(3));
        let mut pause = Pause::new(first, longest);
        let pauses: Vec<_> = (0..40).map(|_| pause.after_failure()).collect();
        for (index, pause) in pauses.iter().enumerate() {
            let full = (first * 2_u32.pow(index.min(20) as u32)).min(longest);
            assert!(*pause >= full / 2 && *pause <= full, "{index}: {pause:?}");
        }
        assert!(pauses[20..].windows(2).any(|pair| pair[0] != pair[1]));
        pause.reset_after(longest / 2);
        assert!(pause.after_failure() > first);
        pause.reset_after(longest);
        assert!(pause.after_failure() <= first);
    }
}
