//! The responder, on UDP and TCP.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::message::{self, Kind};
use super::{LARGEST, Zone, read_framed, write_framed};
use crate::netns::Netns;
use crate::traffic::failure::{Failure, Step};
use crate::traffic::socket;

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
