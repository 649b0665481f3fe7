//! How often one pod may be written to.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// The gap after a write; it doubles as long as writes keep being necessary, so that whoever else writes the same is not
/// fought with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// When the next write may be; any time if absent.
    pub(super) fn next(&self) -> Option<Instant> {
        self.last.map(|(at, gap)| at + gap)
    }

    pub(super) fn note(&mut self, now: Instant) {
        let gap = match self.last {
            Some((at, gap)) if now - at < gap * 10 => (gap * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some((now, gap));
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST, LONGEST, Pace};
    use tokio::time::Instant;

    #[test]
    fn whoever_writes_the_same_is_given_way_to() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        assert_eq!(pace.next(), None);
        let mut now = begun;
        for _ in 0..12 {
            pace.note(now);
            now = pace.next().unwrap();
        }
        assert_eq!(now - pace.last.unwrap().0, LONGEST);
        now += LONGEST * 10;
        pace.note(now);
        assert_eq!(pace.next(), Some(now + FIRST));
    }
}
