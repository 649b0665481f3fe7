//! The client.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::Type;

use super::message::{self, Kind};
use super::{LARGEST, Transport, read_framed, write_framed};
use crate::netns::Netns;
use crate::traffic::failure::{Cause, Failure, Step};
use crate::traffic::socket;

/// A question to a resolver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Query {
    /// The resolver.
    pub to: SocketAddr,
    /// The name.
    pub name: String,
    /// The type of record.
    pub kind: Kind,
    /// How to ask.
    pub transport: Transport,
    /// How long to wait for an answer.
    pub deadline: Duration,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Who answered, as the client's socket says.
    pub from: SocketAddr,
    /// The addresses in the answer.
    pub addresses: Vec<IpAddr>,
}

impl Query {
    /// Asks for the IPv4 address of a name over an unconnected UDP socket.
    pub fn new(to: SocketAddr, name: &str) -> Self {
        let deadline = Duration::from_secs(5);
        Self {
            to,
            name: name.to_owned(),
            kind: Kind::A,
            transport: Transport::Udp,
            deadline,
        }
    }

    /// Asks for another type of record.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Asks in another way.
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Limits the wait.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Asks from a namespace.
    pub fn ask(&self, netns: &Netns) -> Result<Answer, Failure> {
        netns.run(|| self.ask_here())
    }

    /// Asks from the calling thread's namespace.
    pub fn ask_here(&self) -> Result<Answer, Failure> {
        let query = message::write_query(&self.name, self.kind);
        let (from, answer) = match self.transport {
            Transport::Tcp => self
                .ask_tcp(&query)
                .map_err(Failure::at(Step::Connect, self.to))?,
            Transport::ConnectedUdp | Transport::Udp => self
                .ask_udp(&query)
                .map_err(Failure::at(Step::Receive, self.to))?,
        };
        let malformed = || Failure::new(Step::Receive, self.to, Cause::Malformed);
        let addresses = message::read_answer(&query, &answer).ok_or_else(malformed)?;
        Ok(Answer { from, addresses })
    }

    fn ask_udp(&self, query: &[u8]) -> io::Result<(SocketAddr, Vec<u8>)> {
        let udp = UdpSocket::from(socket::open(Type::DGRAM, self.to)?);
        udp.set_read_timeout(Some(self.deadline))?;
        let mut buffer = vec![0; LARGEST];
        let (length, from) = if self.transport == Transport::ConnectedUdp {
            udp.connect(self.to)?;
            udp.send(query)?;
            (udp.recv(&mut buffer)?, udp.peer_addr()?)
        } else {
            udp.send_to(query, self.to)?;
            udp.recv_from(&mut buffer)?
        };
        buffer.truncate(length);
        Ok((from, buffer))
    }

    fn ask_tcp(&self, query: &[u8]) -> io::Result<(SocketAddr, Vec<u8>)> {
        let stream = TcpStream::connect_timeout(&self.to, self.deadline)?;
        stream.set_read_timeout(Some(self.deadline))?;
        write_framed(&stream, query)?;
        Ok((stream.peer_addr()?, read_framed(&stream)?))
    }
}
