//! One connection that stays open, and new ones all the while.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cli::Endure;
use crate::client::Conversation;

const PAUSE: Duration = Duration::from_millis(100);
/// Faults that are told; the rest is a number.
const TOLD: usize = 5;

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Endured {
    /// How many new connections were made.
    pub tried: usize,
    /// What went wrong.
    pub faults: Vec<String>,
}

/// What may become of the connection that stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// Nothing.
    Stays,
    /// It may end, so that both ends hear of it.
    MayEnd,
}

/// Goes on for so long; `judge` makes a new connection and says what is wrong with it.
pub fn put(args: &Endure, fate: Old, mut judge: impl FnMut() -> Vec<String>) -> Endured {
    let mut endured = Endured::default();
    let mut old = match Conversation::begin(args.to) {
        Ok(conversation) => Some(conversation),
        Err(error) => return endured.with(&format!("the first connection: {error}")),
    };
    let end = Instant::now() + Duration::from_secs(args.seconds);
    while Instant::now() < end && !args.is_enough() {
        if let Some(Err(error)) = old.as_mut().map(Conversation::go_on) {
            if fate == Old::Stays || is_silence(&error) {
                return endured.with(&format!("the old connection: {error}"));
            }
            old = None;
        }
        endured.tried += 1;
        let number = endured.tried;
        let new = judge().into_iter();
        endured
            .faults
            .extend(new.map(|fault| format!("connection {number}: {fault}")));
        sleep(PAUSE);
    }
    endured
}

/// Whether nobody has said that it is over.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

impl Endured {
    pub fn with(mut self, fault: &str) -> Self {
        self.faults.push(fault.to_owned());
        self
    }

    /// The first faults, and how many there are.
    pub fn told(self) -> Vec<String> {
        let (mut faults, all) = (self.faults, self.tried);
        let count = faults.len();
        if count > TOLD {
            faults.truncate(TOLD);
            faults.push(format!("{count} faults in {all} rounds"));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::{Endured, TOLD};

    #[test]
    fn many_faults_are_a_number() {
        let told = |count| {
            let faults = vec!["late".to_owned(); count];
            Endured { tried: 9, faults }.told()
        };
        assert_eq!(told(TOLD).len(), TOLD);
        assert_eq!(told(TOLD + 1)[TOLD], format!("{} faults in 9 rounds", TOLD + 1));
    }
}
