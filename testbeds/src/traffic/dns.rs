//! A DNS responder that answers every name with one address per family, and a client that reports who answered.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, Type};

use super::failure::{Cause, Failure, Step};
use super::socket;
use crate::netns::Netns;

mod message;

pub use message::Kind;

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

/// A query that a responder has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Who asked, in the IPv4 form if it has one.
    pub from: SocketAddr,
    /// The name.
    pub name: String,
    /// The type of record.
    pub kind: Kind,
    /// Whether it came over TCP.
    pub tcp: bool,
}

/// A running responder; dropping it closes its sockets.
#[derive(Debug)]
pub struct Responder {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    udp: UdpSocket,
    tcp: TcpListener,
    zone: Zone,
    seen: Mutex<Vec<Seen>>,
    stop: AtomicBool,
}

impl Responder {
    /// Starts a responder in a namespace, on UDP and TCP; the port must not be 0.
    pub fn start(netns: &Netns, bind: SocketAddr, zone: Zone) -> Result<Self, Failure> {
        let sockets = netns.run(|| Ok((UdpSocket::bind(bind)?, TcpListener::bind(bind)?)));
        let (udp, tcp) = sockets.map_err(Failure::at(Step::Bind, bind))?;
        let shared = Arc::new(Shared {
            udp,
            tcp,
            zone,
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let threads = [Shared::answer_datagrams, Shared::answer_streams].map(|answer| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || answer(&shared))
        });
        Ok(Self {
            address: bind,
            shared,
            threads: threads.into(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All queries so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().clone()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Both wake the threads; UDP reports ENOTCONN when it does.
        SockRef::from(&self.shared.udp)
            .shutdown(Shutdown::Both)
            .unwrap_or_default();
        SockRef::from(&self.shared.tcp)
            .shutdown(Shutdown::Both)
            .unwrap_or_default();
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or_default();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_datagrams(&self) {
        let mut buffer = [0; LARGEST];
        while let Ok((length, from)) = self.udp.recv_from(&mut buffer) {
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            if let Some(answer) = self.answer(&buffer[..length], from, false) {
                // Who cannot be answered will say so itself.
                self.udp.send_to(&answer, from).map(drop).unwrap_or_default();
            }
        }
    }

    fn answer_streams(&self) {
        while let Ok((stream, from)) = self.tcp.accept() {
            self.answer_stream(&stream, from).unwrap_or_default();
        }
    }

    fn answer_stream(&self, stream: &TcpStream, from: SocketAddr) -> io::Result<()> {
        // A guest that asks nothing must not hold up the next one, or the end.
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let query = read_framed(stream)?;
        match self.answer(&query, from, true) {
            Some(answer) => write_framed(stream, &answer),
            None => Ok(()),
        }
    }

    fn answer(&self, query: &[u8], from: SocketAddr, tcp: bool) -> Option<Vec<u8>> {
        let question = message::read_question(query)?;
        let Zone { v4, v6 } = self.zone;
        let answer = message::write_answer(query, &question, v4, v6)?;
        let from = socket::canonical(from);
        self.lock().push(Seen {
            from,
            name: question.name,
            kind: question.kind,
            tcp,
        });
        Some(answer)
    }
}

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
