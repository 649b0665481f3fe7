//! Which DNS questions the proxy answers, and how.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::message::Reply;

/// What the proxy answers, and whom it asks otherwise.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    names: HashMap<String, Vec<IpAddr>>,
    /// The answer to any other name.
    default: Vec<IpAddr>,
    /// The server for any other name, if there is no answer.
    upstream: Option<SocketAddr>,
}

/// An answer given on the command line: `name=address`, or an address for every name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedAnswer {
    name: Option<String>,
    address: IpAddr,
}

impl FromStr for FixedAnswer {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) => (Some(name.trim_end_matches('.').to_ascii_lowercase()), address),
            None => (None, text),
        };
        Ok(Self {
            name,
            address: address.parse()?,
        })
    }
}

impl Zone {
    /// Knows `answers`, and asks `upstream` for the rest.
    pub fn new(answers: Vec<FixedAnswer>, upstream: Option<SocketAddr>) -> Self {
        let mut zone = Self {
            upstream,
            ..Self::default()
        };
        for FixedAnswer { name, address } in answers {
            match name {
                Some(name) => zone.names.entry(name).or_default().push(address),
                None => zone.default.push(address),
            }
        }
        zone
    }

    /// What to do about a question for `name`.
    pub fn decide(&self, name: &str) -> Decision<'_> {
        match (self.names.get(name), self.upstream) {
            (Some(addresses), _) => Decision::Answer(Reply::Addresses(addresses)),
            (None, _) if !self.default.is_empty() => Decision::Answer(Reply::Addresses(&self.default)),
            (None, Some(server)) => Decision::Forward(server),
            (None, None) if self.names.is_empty() => Decision::Answer(Reply::ServerFailure),
            (None, None) => Decision::Answer(Reply::NoSuchName),
        }
    }
}

/// What to do about a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Answer it.
    Answer(Reply<'a>),
    /// Ask this server.
    Forward(SocketAddr),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(answers: &[&str], upstream: Option<&str>) -> Zone {
        let answers = answers.iter().map(|text| text.parse().unwrap()).collect();
        Zone::new(answers, upstream.map(|text| text.parse().unwrap()))
    }

    #[test]
    fn names_before_the_default_before_the_upstream() {
        let (one, two) = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()].into();
        let all = zone(&["A.test.=10.0.0.1", "10.0.0.2"], Some("192.0.2.1:53"));
        assert_eq!(all.decide("a.test"), Decision::Answer(Reply::Addresses(&[one])));
        assert_eq!(all.decide("b.test"), Decision::Answer(Reply::Addresses(&[two])));
        let asks = zone(&["a.test=10.0.0.1"], Some("192.0.2.1:53"));
        assert_eq!(
            asks.decide("b.test"),
            Decision::Forward("192.0.2.1:53".parse().unwrap())
        );
    }

    #[test]
    fn without_upstream_other_names_do_not_exist() {
        assert_eq!(
            zone(&["a.test=10.0.0.1"], None).decide("b"),
            Decision::Answer(Reply::NoSuchName)
        );
        assert_eq!(
            zone(&[], None).decide("b"),
            Decision::Answer(Reply::ServerFailure)
        );
        assert!("a.test=here".parse::<FixedAnswer>().is_err());
    }
}
