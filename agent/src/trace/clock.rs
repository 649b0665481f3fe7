//! The kernel's monotonic time as time of day.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use crate::api::time::Timestamp;

/// When the monotonic clock was zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    zero: SystemTime,
}

impl Clock {
    /// Compares both clocks.
    pub(super) fn read() -> nix::Result<Self> {
        let monotonic = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        let now = SystemTime::now();
        Ok(Self {
            zero: now.checked_sub(monotonic).unwrap_or(now),
        })
    }

    /// The time of day at a monotonic time.
    pub(super) fn time(self, monotonic_ns: u64) -> Timestamp {
        let monotonic = Duration::from_nanos(monotonic_ns);
        self.zero.checked_add(monotonic).unwrap_or(self.zero).into()
    }
}
