//! While somebody takes Weir away: connections are captured at first and in clear in the end. In between, as one end leaves
//! before the other, one may be refused; but none may hang.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::check::{Check, Expectation};
use crate::cli::Endure;
use crate::client::{self, Seen};
use crate::load::{self, Endured, Old};

/// A refusal takes no time; a segment that is lost is sent again after a second.
const AT_ONCE: Duration = Duration::from_millis(900);

/// What became of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Captured,
    Refused,
    InClear,
}

/// All so far.
#[derive(Debug, Default)]
pub struct Departure {
    captured: usize,
    refused: usize,
    in_clear: usize,
}

/// Goes on for so long, which is longer than the removal takes.
pub fn endure(args: &Endure) -> (Departure, Endured) {
    let mut departure = Departure::default();
    let endured = load::put(args, Old::MayEnd, || departure.make(args.to));
    let fault = departure.is_incomplete();
    let endured = fault.into_iter().fold(endured, Endured::with);
    (departure, endured)
}

impl Departure {
    fn make(&mut self, to: SocketAddr) -> Vec<String> {
        let begun = Instant::now();
        match outcome(to, &client::exchange(to), begun.elapsed()) {
            Ok(outcome) => self.take(outcome).into_iter().map(str::to_owned).collect(),
            Err(faults) => faults,
        }
    }

    /// The next one; what is wrong with its place in the order.
    fn take(&mut self, outcome: Outcome) -> Option<&'static str> {
        let has_left = self.in_clear > 0;
        match outcome {
            Outcome::Captured => self.captured += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::InClear => self.in_clear += 1,
        }
        match outcome {
            Outcome::Captured if has_left => Some("captured, after one in clear"),
            Outcome::Refused if has_left => Some("refused, after one in clear"),
            Outcome::Captured | Outcome::Refused | Outcome::InClear => None,
        }
    }

    fn is_incomplete(&self) -> Option<&'static str> {
        match (self.captured, self.in_clear) {
            (0, _) => Some("none was captured: it began too late"),
            (_, 0) => Some("none was in clear: Weir is still there"),
            _ => None,
        }
    }

    /// For people.
    pub fn summary(&self) -> String {
        let Self {
            captured,
            refused,
            in_clear,
        } = self;
        format!("{captured} captured, {refused} refused, {in_clear} in clear")
    }
}

fn outcome(to: SocketAddr, seen: &io::Result<Seen>, took: Duration) -> Result<Outcome, Vec<String>> {
    let faults = |expectation, seen| Check::new("", to, expectation).wrong_with(seen);
    match seen {
        Err(_) if took < AT_ONCE => Ok(Outcome::Refused),
        Err(error) => Err(vec![format!(
            "neither answered nor refused at once: {error} after {took:?}"
        )]),
        Ok(seen) if faults(Expectation::Uncaptured, seen).is_empty() => Ok(Outcome::InClear),
        Ok(seen) => match faults(Expectation::Captured, seen) {
            none if none.is_empty() => Ok(Outcome::Captured),
            faults => Err(faults),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::{AT_ONCE, Departure, Outcome, outcome};

    #[test]
    fn who_has_left_does_not_come_back() {
        let mut departure = Departure::default();
        let mut take = |outcome| departure.take(outcome);
        for outcome in [
            Outcome::Captured,
            Outcome::Refused,
            Outcome::Captured,
            Outcome::InClear,
            Outcome::InClear,
        ] {
            assert_eq!(take(outcome), None, "{outcome:?}");
        }
        assert!(take(Outcome::Captured).is_some());
        assert!(take(Outcome::Refused).is_some());
    }

    #[test]
    fn a_departure_has_a_beginning_and_an_end() {
        let after = |outcomes: &[Outcome]| {
            let mut departure = Departure::default();
            for outcome in outcomes {
                departure.take(*outcome);
            }
            departure.is_incomplete().is_none()
        };
        assert!(!after(&[Outcome::Captured, Outcome::Refused]));
        assert!(!after(&[Outcome::InClear]));
        assert!(after(&[Outcome::Captured, Outcome::InClear]));
    }

    #[test]
    fn a_refusal_that_takes_time_is_a_fault() {
        let refused = |took| {
            outcome(
                "10.0.0.2:80".parse().unwrap(),
                &Err(io::ErrorKind::ConnectionRefused.into()),
                took,
            )
        };
        assert_eq!(refused(Duration::ZERO), Ok(Outcome::Refused));
        assert!(refused(AT_ONCE).is_err());
    }
}
