//! A DNS responder that answers every name with one address per family, and a client that reports who answered.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

use serde::{Deserialize, Serialize};

mod message;
mod query;
mod responder;

pub use message::Kind;
pub use query::{Answer, Query};
pub use responder::{Responder, Seen};

const LARGEST: usize = 1500;

/// What a responder answers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Zone {
    /// The address in answers to A queries.
    pub v4: Ipv4Addr,
    /// The address in answers to AAAA queries.
    pub v6: Ipv6Addr,
}

/// How a query or its answer travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Over UDP from a socket that is connected to the resolver.
    ConnectedUdp,
    /// Over UDP from a socket that takes answers from anywhere.
    Udp,
    /// Over TCP.
    Tcp,
}

// Over TCP a message is preceded by its length.
fn read_framed(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn write_framed(mut stream: &TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}
