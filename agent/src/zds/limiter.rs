//! How fast connections are taken: a token bucket, told the time.
use std::time::{Duration, Instant};

/// Lets `burst` through at once, then one per `interval`.
#[derive(Debug)]
pub struct Limiter {
    interval: Duration,
    burst: u32,
    /// When the bucket is full again; tokens are the time up to then.
    full_at: Instant,
}

impl Limiter {
    /// A full bucket.
    pub const fn new(interval: Duration, burst: u32, now: Instant) -> Self {
        Self {
            interval,
            burst,
            full_at: now,
        }
    }

    /// How long until there is a token.
    pub fn wait(&self, now: Instant) -> Duration {
        let empty_for = self.full_at.saturating_duration_since(now) + self.interval;
        empty_for.saturating_sub(self.interval * self.burst)
    }

    /// Takes a token, one that is not there yet if need be.
    pub fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(200);

    fn taken(limiter: &mut Limiter, now: Instant) -> usize {
        let mut count = 0;
        while limiter.wait(now).is_zero() && count < 1000 {
            limiter.take(now);
            count += 1;
        }
        count
    }

    #[test]
    fn a_burst_passes_then_one_per_interval() {
        let start = Instant::now();
        let mut limiter = Limiter::new(INTERVAL, 10, start);
        assert_eq!(taken(&mut limiter, start), 10);
        assert_eq!(limiter.wait(start), INTERVAL);
        assert_eq!(limiter.wait(start + INTERVAL / 2), INTERVAL / 2);
        assert_eq!(taken(&mut limiter, start + INTERVAL), 1);
        assert_eq!(taken(&mut limiter, start + INTERVAL * 4), 3);
    }

    #[test]
    fn a_long_rest_saves_no_more_than_the_burst() {
        let start = Instant::now();
        let mut limiter = Limiter::new(INTERVAL, 10, start);
        assert_eq!(taken(&mut limiter, start + INTERVAL * 1000), 10);
    }
}
