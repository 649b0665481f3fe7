//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How long tests wait for what must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(5);

/// The condition did not come true in time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the condition did not come true within {0:?}")]
pub struct Expired(pub Duration);

/// How many times as long everything may take, where the machine is an emulated one.
const SLOWNESS: &str = "WEIR_SLOWNESS";

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn slowness() -> u32 {
    let Some(told) = std::env::var_os(SLOWNESS) else {
        return 1;
    };
    let number = told.to_str().and_then(|told| told.parse().ok());
    number.unwrap_or_else(|| panic!("{SLOWNESS} is {told:?}, not how many times as long things may take"))
}

/// Asks again and again until there is an answer or the deadline has passed; it asks at least once.
pub fn eventually<T>(deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T, Expired> {
    let deadline = deadline * slowness();
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() >= end {
            return Err(Expired(deadline));
        }
        std::thread::park_timeout(PAUSE);
    }
}
