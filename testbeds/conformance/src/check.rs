//! One line of the list, and what is wrong with what was seen.

use std::io;
use std::net::SocketAddr;

use crate::client::{self, Seen};

/// What must be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// ztunnel was in between: the server sees the client's address and another port.
    Captured,
    /// Nobody was: the server sees the client's very socket.
    Uncaptured,
    /// Either, behind an address that is no pod's.
    Reached,
    /// Nobody answers, whoever is in between.
    Closed,
    /// A datagram that nobody touches.
    Datagram,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub to: SocketAddr,
    pub expectation: Expectation,
}

impl Expectation {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Uncaptured => "uncaptured",
            Self::Reached => "reached",
            Self::Closed => "closed",
            Self::Datagram => "untouched datagram",
        }
    }
}

impl Check {
    pub fn new(name: &str, to: SocketAddr, expectation: Expectation) -> Self {
        Self {
            name: name.to_owned(),
            to,
            expectation,
        }
    }

    /// Tries it; nothing if all is as it must be.
    pub fn faults(&self) -> Vec<String> {
        match self.expectation {
            Expectation::Captured | Expectation::Uncaptured | Expectation::Reached => {
                match client::exchange(self.to) {
                    Ok(seen) => self.wrong_with(&seen),
                    Err(error) => vec![error.to_string()],
                }
            }
            Expectation::Closed => wrong_with_closed(client::exchange(self.to)),
            Expectation::Datagram => wrong_with_datagram(client::datagram(self.to)),
        }
    }

    /// What is wrong with a connection that was answered.
    pub fn wrong_with(&self, seen: &Seen) -> Vec<String> {
        let mut faults = Vec::new();
        let Seen {
            local,
            peer,
            greeting,
        } = seen;
        if *peer != self.to {
            faults.push(format!("the client is told that it speaks with {peer}"));
        }
        if self.expectation == Expectation::Reached {
            return faults;
        }
        if greeting.local != self.to {
            faults.push(format!("the server was dialled as {}", greeting.local));
        }
        if greeting.peer.ip() != local.ip() {
            faults.push(format!("the server sees {} instead of {}", greeting.peer, local));
        }
        let same_port = greeting.peer.port() == local.port();
        match self.expectation {
            Expectation::Captured if same_port => faults.push("not captured".to_owned()),
            Expectation::Uncaptured if !same_port => faults.push("captured".to_owned()),
            _ => {}
        }
        faults
    }
}

/// ztunnel accepts before it knows; what counts is that nobody speaks, and that it ends.
fn wrong_with_closed(outcome: io::Result<Seen>) -> Vec<String> {
    match outcome {
        Ok(seen) => vec![format!("{} answers", seen.greeting.server)],
        Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
            vec!["neither refused nor ended".to_owned()]
        }
        Err(_) => Vec::new(),
    }
}

fn wrong_with_datagram(outcome: io::Result<(SocketAddr, SocketAddr)>) -> Vec<String> {
    match outcome {
        Ok((own, seen)) if own == seen => Vec::new(),
        Ok((own, seen)) => vec![format!("the server sees {seen} instead of {own}")],
        Err(error) => vec![error.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Expectation};
    use crate::client::Seen;
    use crate::greeting::Greeting;

    fn seen(by_server: &str) -> Seen {
        Seen {
            local: "10.0.0.1:40000".parse().unwrap(),
            peer: "10.0.0.2:8080".parse().unwrap(),
            greeting: Greeting {
                server: "server".to_owned(),
                peer: by_server.parse().unwrap(),
                local: "10.0.0.2:8080".parse().unwrap(),
            },
        }
    }

    #[test]
    fn another_port_is_the_sign_of_a_proxy_and_another_address_is_a_fault() {
        let faults = |expectation, by_server| {
            Check::new("", "10.0.0.2:8080".parse().unwrap(), expectation).wrong_with(&seen(by_server))
        };
        for (expectation, by_server, wrong) in [
            (Expectation::Captured, "10.0.0.1:50000", 0),
            (Expectation::Captured, "10.0.0.1:40000", 1),
            (Expectation::Captured, "10.0.0.9:50000", 1),
            (Expectation::Uncaptured, "10.0.0.1:40000", 0),
            (Expectation::Uncaptured, "10.0.0.1:50000", 1),
            (Expectation::Reached, "10.0.0.9:50000", 0),
        ] {
            let found = faults(expectation, by_server);
            assert_eq!(found.len(), wrong, "{expectation:?} {by_server}: {found:?}");
        }
    }

    #[test]
    fn a_client_must_be_told_whom_it_dialled() {
        let check = Check::new("", "10.0.0.7:8080".parse().unwrap(), Expectation::Reached);
        assert_eq!(check.wrong_with(&seen("10.0.0.1:1")).len(), 1);
    }
}
