//! One connection, and what both ends say of it.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::canonical;
use crate::greeting::Greeting;

/// How long each step may take: longer than ztunnel needs to give up.
const DEADLINE: Duration = Duration::from_secs(15);
const WORD: &[u8] = b"weir\n";

/// What both ends say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The client's own address, by itself.
    pub local: SocketAddr,
    /// The server's address, by the client.
    pub peer: SocketAddr,
    /// What the server says.
    pub greeting: Greeting,
}

/// A connection that has been greeted.
#[derive(Debug)]
pub struct Conversation {
    reader: BufReader<TcpStream>,
    /// What both ends say.
    pub seen: Seen,
}

impl Conversation {
    /// Connects and is greeted.
    pub fn begin(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let (local, peer) = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
        let mut reader = BufReader::new(stream);
        let greeting = Greeting::read(&mut reader)?;
        let seen = Seen {
            local,
            peer,
            greeting,
        };
        Ok(Self { reader, seen })
    }

    /// Says something, and hears it repeated.
    pub fn go_on(&mut self) -> io::Result<()> {
        self.reader.get_mut().write_all(WORD)?;
        let mut heard = [0; WORD.len()];
        self.reader.read_exact(&mut heard)?;
        if heard == WORD {
            Ok(())
        } else {
            Err(io::Error::other("the server repeats something else"))
        }
    }
}

/// Connects, is greeted, and talks.
pub fn exchange(to: SocketAddr) -> io::Result<Seen> {
    let mut conversation = Conversation::begin(to)?;
    conversation.go_on()?;
    Ok(conversation.seen)
}

/// The client's address by itself and by a server that it sends a datagram to.
pub fn datagram(to: SocketAddr) -> io::Result<(SocketAddr, SocketAddr)> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.connect(to)?;
    socket.send(WORD)?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer)?;
    let said = String::from_utf8_lossy(&buffer[..length]);
    let by_server = said.parse().map_err(io::Error::other)?;
    Ok((canonical(socket.local_addr()?), by_server))
}
