//! Old connections stay, new ones are captured, whatever is restarted meanwhile.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::check::{Check, Expectation};
use crate::client::Conversation;

const PAUSE: Duration = Duration::from_millis(100);
/// Faults that are told; the rest is a number.
const TOLD: usize = 5;

/// Goes on for so long; what went wrong, if anything.
pub fn faults(to: SocketAddr, seconds: u64) -> Vec<String> {
    let mut old = match Conversation::begin(to) {
        Ok(conversation) => conversation,
        Err(error) => return vec![format!("the first connection: {error}")],
    };
    let check = Check::new("", to, Expectation::Captured);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut faults, mut tried) = (Vec::new(), 0);
    while Instant::now() < end {
        tried += 1;
        if let Err(error) = old.go_on() {
            faults.push(format!("the old connection: {error}"));
            break;
        }
        let new = check.faults().into_iter();
        faults.extend(new.map(|fault| format!("connection {tried}: {fault}")));
        sleep(PAUSE);
    }
    told(faults, tried)
}

fn told(mut faults: Vec<String>, tried: usize) -> Vec<String> {
    let all = faults.len();
    if all > TOLD {
        faults.truncate(TOLD);
        faults.push(format!("{all} faults in {tried} rounds"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{TOLD, told};

    #[test]
    fn many_faults_are_a_number() {
        let faults = |count| vec!["late".to_owned(); count];
        assert_eq!(told(faults(TOLD), 9).len(), TOLD);
        assert_eq!(
            told(faults(TOLD + 1), 9)[TOLD],
            format!("{} faults in 9 rounds", TOLD + 1)
        );
    }
}
