//! What a server tells each client.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The first line of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// What the server calls itself.
    pub server: String,
    /// Who the client seems to be.
    pub peer: SocketAddr,
    /// Where the client seems to have connected to.
    pub local: SocketAddr,
}

impl Greeting {
    /// Sends it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        to.write_all(&line)
    }

    /// Receives it.
    pub fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut line = String::new();
        match from.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(serde_json::from_str(&line)?),
        }
    }
}
