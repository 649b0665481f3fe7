//! Callers: each sends its own number and bytes, and checks every byte of the answer.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::server::{Closer, pattern};

/// A proxy's short backlog makes clients send their SYN again, after 1, 2 and 4 seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection to be made, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    id: u64,
    to: SocketAddr,
    tag: u32,
    from: Option<SocketAddr>,
}

/// What went wrong.
#[derive(Debug)]
#[expect(dead_code, reason = "read in panic messages")]
pub struct Trouble {
    caller: Caller,
    step: &'static str,
    source: io::Error,
}

impl Trouble {
    /// What the kernel said.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// An open connection.
pub struct Talk {
    caller: Caller,
    stream: TcpStream,
    seen: Option<SocketAddr>,
}

impl Caller {
    /// The caller of this number, of a server that answers with this tag.
    pub fn new(id: u64, to: SocketAddr, tag: u32) -> Self {
        Self {
            id,
            to,
            tag,
            from: None,
        }
    }

    /// Binds to this address first.
    pub fn at(mut self, source: SocketAddr) -> Self {
        self.from = Some(source);
        self
    }

    /// Binds to this port of an address first.
    pub fn at_port(self, address: IpAddr, port: u16) -> Self {
        self.at(SocketAddr::new(address, port))
    }

    fn trouble(self, step: &'static str) -> impl FnOnce(io::Error) -> Trouble {
        move |source| Trouble {
            caller: self,
            step,
            source,
        }
    }

    /// Connects, in the calling thread's namespace.
    pub async fn connect(self) -> Result<Talk, Trouble> {
        let socket = self.socket().map_err(self.trouble("bind"))?;
        let stream = timely(socket.connect(self.to))
            .await
            .map_err(self.trouble("connect"))?;
        Ok(Talk {
            caller: self,
            stream,
            seen: None,
        })
    }

    fn socket(&self) -> io::Result<TcpSocket> {
        let socket = match self.to {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_nodelay(true)?;
        if let Some(source) = self.from {
            // As every client does that asks for a port: its own last connection may still hold it.
            socket.set_reuseaddr(true)?;
            socket.bind(source)?;
        }
        Ok(socket)
    }

    /// Connects, asks once, and ends.
    pub async fn call(self, length: usize, closer: Closer) -> Result<SocketAddr, Trouble> {
        let mut talk = self.connect().await?;
        let seen = talk.ask(length).await?;
        talk.finish(closer).await?;
        Ok(seen)
    }
}

impl Talk {
    /// The client's own address and port.
    fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// The client's address and port as the server sees them, once it has answered.
    pub fn seen(&self) -> SocketAddr {
        self.seen.unwrap()
    }

    /// Asks, and checks every byte of the answer; returns the client as the server sees it.
    pub async fn ask(&mut self, length: usize) -> Result<SocketAddr, Trouble> {
        let seen = timely(self.exchange(length)).await;
        let seen = seen.map_err(self.caller.trouble("exchange"))?;
        self.seen = Some(seen);
        Ok(seen)
    }

    async fn exchange(&mut self, length: usize) -> io::Result<SocketAddr> {
        let Caller { id, tag, .. } = self.caller;
        let mut question = id.to_be_bytes().to_vec();
        question.extend(u32::try_from(length).unwrap().to_be_bytes());
        question.extend(pattern(id, length));
        self.stream.write_all(&question).await?;
        let told = (self.stream.read_u32().await?, self.stream.read_u64().await?);
        let address = Ipv6Addr::from_bits(self.stream.read_u128().await?).to_canonical();
        let port = self.stream.read_u16().await?;
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        if told != (tag, id) || bytes != pattern(!id, length) {
            let what = format!(
                "asked as {id:#x} of server {tag}, answered as {:#x} by {}",
                told.1, told.0
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        if address != self.local().ip() {
            let what = format!("the server sees {address} instead of {}", self.local().ip());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(SocketAddr::new(address, port))
    }

    /// Ends the connection in order.
    pub async fn finish(mut self, closer: Closer) -> Result<(), Trouble> {
        let end = async {
            if closer == Closer::Client {
                self.stream.shutdown().await?;
            }
            let left = self.stream.read(&mut [0; 1]).await?;
            if left == 0 {
                Ok(())
            } else {
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "more than was asked for",
                ))
            }
        };
        timely(end).await.map_err(self.caller.trouble("close"))
    }
}

async fn timely<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Opens all of them, `at_once` at a time, and keeps them open. Runs in the calling thread's namespace.
pub async fn open_all(callers: Vec<Caller>, at_once: usize) -> Vec<Talk> {
    sound(open_each(callers, at_once).await)
}

/// As [`open_all`], but each may fail and try again until the deadline.
pub async fn open_all_by(deadline: Instant, mut callers: Vec<Caller>, at_once: usize) -> Vec<Talk> {
    let mut talks = Vec::new();
    loop {
        let attempts = callers.clone().into_iter().zip(open_each(callers, at_once).await);
        callers = Vec::new();
        let late = Instant::now() > deadline;
        for (caller, attempt) in attempts {
            match attempt {
                Ok(talk) => talks.push(talk),
                Err(trouble) if late => panic!("{trouble:#?}"),
                Err(_) => callers.push(caller),
            }
        }
        if callers.is_empty() {
            return talks;
        }
    }
}

async fn open_each(callers: Vec<Caller>, at_once: usize) -> Vec<Result<Talk, Trouble>> {
    stream::iter(callers)
        .map(async |caller: Caller| {
            let mut talk = caller.connect().await?;
            talk.ask(64).await?;
            Ok(talk)
        })
        .buffered(at_once)
        .collect()
        .await
}

/// Asks on all of them at once, and gives them back.
pub async fn ask_all(talks: Vec<Talk>, length: usize) -> Vec<Talk> {
    let asked = futures::future::join_all(talks.into_iter().map(async |mut talk| {
        talk.ask(length).await?;
        Ok(talk)
    }));
    sound(asked.await)
}

/// Ends all of them.
pub async fn finish_all(talks: Vec<Talk>, closer: Closer) {
    let ended = futures::future::join_all(talks.into_iter().map(|talk| talk.finish(closer)));
    sound(ended.await);
}

/// Calls all of them, `at_once` at a time.
pub async fn call_all(callers: Vec<Caller>, at_once: usize, closer: Closer) -> Vec<SocketAddr> {
    let called = stream::iter(callers)
        .map(|caller| caller.call(64, closer))
        .buffer_unordered(at_once)
        .collect::<Vec<_>>();
    sound(called.await)
}

/// What came of it, if nothing went wrong.
#[track_caller]
pub fn sound<T>(outcomes: Vec<Result<T, Trouble>>) -> Vec<T> {
    let all = outcomes.len();
    let mut troubles = Vec::new();
    let mut fine = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(value) => fine.push(value),
            Err(trouble) => troubles.push(trouble),
        }
    }
    let first = &troubles[..troubles.len().min(3)];
    assert!(
        troubles.is_empty(),
        "{} of {all} failed: {first:#?}",
        troubles.len()
    );
    fine
}
