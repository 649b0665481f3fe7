//! A TCP client that reads the server's greeting and compares what is echoed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use serde::{Deserialize, Serialize};
use socket2::{Socket, Type};

use super::failure::{Cause, Failure, Step};
use super::server::ServerReport;
use super::socket;
use crate::netns::Netns;

mod bulk;
mod spec;

pub use bulk::Bulk;
pub use spec::ClientSpec;

/// What both sides saw of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The client's own address, as its socket says.
    pub local: SocketAddr,
    /// The address the client believes to talk to (`getpeername`).
    pub peer: SocketAddr,
    /// What the server saw.
    pub server: ServerReport,
}

impl Exchange {
    /// Whether client and server spoke over one and the same connection.
    #[must_use]
    pub fn went_straight(&self) -> bool {
        plain(self.local) == self.server.peer && plain(self.peer) == self.server.local
    }

    /// Whether a proxy stood in between: it makes a connection of its own, from another port.
    #[must_use]
    pub fn was_captured(&self) -> bool {
        self.local.port() != self.server.peer.port()
    }
}

/// IPv4's own form, in which servers report.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A socket that is ready to connect, made before it does.
#[derive(Debug)]
pub struct Client {
    spec: ClientSpec,
    socket: Socket,
}

/// An open connection to a [`Server`](super::Server).
#[derive(Debug)]
pub struct Connection {
    exchange: Exchange,
    to: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects from a namespace and reads the greeting.
    pub fn connect(netns: &Netns, spec: &ClientSpec) -> Result<Connection, Failure> {
        Self::prepare(netns, spec)?.finish()
    }

    /// Connects, has a few bytes echoed, and closes.
    pub fn exchange(netns: &Netns, spec: &ClientSpec) -> Result<Exchange, Failure> {
        Self::connect(netns, spec)?.converse()
    }

    /// As [`connect`](Self::connect), in the calling thread's namespace.
    pub fn connect_here(spec: &ClientSpec) -> Result<Connection, Failure> {
        Self::prepare_here(spec)?.finish()
    }

    /// Makes and binds a socket in a namespace, to be connected later.
    pub fn prepare(netns: &Netns, spec: &ClientSpec) -> Result<Self, Failure> {
        netns.run(|| Self::prepare_here(spec))
    }

    /// Makes and binds a socket in the calling thread's namespace.
    pub fn prepare_here(spec: &ClientSpec) -> Result<Self, Failure> {
        let at = |step| Failure::at(step, spec.to);
        let socket = open(spec).map_err(at(Step::Prepare))?;
        if let Some(device) = &spec.bind_device {
            socket
                .bind_device(Some(device.as_bytes()))
                .map_err(at(Step::Bind))?;
        }
        if let Some(source) = spec.bind_source {
            let source = if spec.v4_mapped {
                socket::v4_mapped(source)
            } else {
                source
            };
            socket.bind(&source.into()).map_err(at(Step::Bind))?;
        }
        Ok(Self {
            spec: spec.clone(),
            socket,
        })
    }

    /// The socket, for options this client does not know.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Connects and reads the greeting.
    pub fn finish(self) -> Result<Connection, Failure> {
        let Self { spec, socket } = self;
        dial(&spec, &socket).map_err(Failure::at(Step::Connect, spec.to))?;
        greet(&spec, socket).map_err(Failure::at(Step::Greeting, spec.to))
    }
}

impl Connection {
    /// What both sides saw.
    pub fn report(&self) -> &Exchange {
        &self.exchange
    }

    /// Sends bytes and waits until they have come back unaltered; may be repeated.
    pub fn exchange(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream
            .get_mut()
            .write_all(bytes)
            .map_err(Failure::at(Step::Send, self.to))?;
        let mut echoed = vec![0; bytes.len()];
        self.stream
            .read_exact(&mut echoed)
            .map_err(Failure::at(Step::Receive, self.to))?;
        self.unaltered(echoed == bytes)
    }

    /// Sends zeros and reads nothing, until so many are sent or nobody takes more of them.
    pub fn pour(&mut self, bytes: usize) -> Result<(), Failure> {
        let failed = Failure::at(Step::Send, self.to);
        let stream = self.stream.get_mut();
        stream.set_nonblocking(true).map_err(&failed)?;
        let mut left = bytes;
        while left > 0 {
            match stream.write(&[0; 4096]) {
                Ok(sent) => left = left.saturating_sub(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(failed(error)),
            }
        }
        stream.set_nonblocking(false).map_err(failed)
    }

    /// Has a few bytes echoed and closes in order.
    pub fn converse(mut self) -> Result<Exchange, Failure> {
        self.exchange(b"ping")?;
        let exchange = self.exchange.clone();
        self.close()?;
        Ok(exchange)
    }

    /// Sends `last`, closes the sending half, and returns how many bytes came after that.
    pub fn half_close(mut self, last: &[u8]) -> Result<u64, Failure> {
        self.stream
            .get_mut()
            .write_all(last)
            .map_err(Failure::at(Step::Send, self.to))?;
        self.stream
            .get_mut()
            .shutdown(Shutdown::Write)
            .map_err(Failure::at(Step::Send, self.to))?;
        let mut rest = Vec::new();
        self.stream
            .read_to_end(&mut rest)
            .map_err(Failure::at(Step::Receive, self.to))?;
        self.unaltered(rest == last)?;
        Ok(rest.len() as u64)
    }

    /// Closes in order: waits for the server's end of stream.
    pub fn close(self) -> Result<(), Failure> {
        self.half_close(b"").map(drop)
    }

    /// Sends many bytes while receiving them, and compares checksums.
    pub fn bulk(&mut self, bytes: u64) -> Result<Bulk, Failure> {
        let to = self.to;
        let writer = self
            .stream
            .get_ref()
            .try_clone()
            .map_err(Failure::at(Step::Prepare, to))?;
        let (sent, received) = thread::scope(|scope| {
            let sending = scope.spawn(move || bulk::send(&writer, bytes));
            let received = bulk::receive(&mut self.stream, bytes);
            (
                sending
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                received,
            )
        });
        let sent = sent.map_err(Failure::at(Step::Send, to))?;
        let checksum = received.map_err(Failure::at(Step::Receive, to))?;
        self.unaltered(sent == checksum)?;
        Ok(Bulk { bytes, checksum })
    }

    fn unaltered(&self, same: bool) -> Result<(), Failure> {
        same.then_some(())
            .ok_or_else(|| Failure::new(Step::Receive, self.to, Cause::Altered))
    }
}

fn open(spec: &ClientSpec) -> io::Result<Socket> {
    let destination = spec.destination();
    let socket = if spec.multipath {
        socket::open_multipath(destination)
    } else {
        socket::open(Type::STREAM, destination)
    }?;
    socket.set_reuse_address(spec.reuse_address)?;
    if spec.transparent {
        socket::make_transparent(&socket, destination)?;
    }
    if let Some(mark) = spec.mark {
        socket.set_mark(mark)?;
    }
    Ok(socket)
}

fn dial(spec: &ClientSpec, socket: &Socket) -> io::Result<()> {
    let destination = spec.destination().into();
    if spec.nonblocking {
        return socket.connect_timeout(&destination, spec.deadline);
    }
    // A blocking connect ends with the send timeout.
    socket.set_write_timeout(Some(spec.deadline))?;
    loop {
        match socket.connect(&destination) {
            // With a timeout any signal ends the call; the next one goes on with it.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            connected => return connected,
        }
    }
}

fn greet(spec: &ClientSpec, socket: Socket) -> io::Result<Connection> {
    socket.set_read_timeout(Some(spec.deadline))?;
    socket.set_write_timeout(Some(spec.deadline))?;
    socket.set_tcp_nodelay(true)?;
    let (local, peer) = (socket::local(&socket)?, socket::peer(&socket)?);
    let mut stream = BufReader::new(TcpStream::from(socket));
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let server = serde_json::from_slice(&line).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Connection {
        exchange: Exchange { local, peer, server },
        to: spec.to,
        stream,
    })
}
