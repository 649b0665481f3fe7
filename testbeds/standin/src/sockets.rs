//! Sockets with the options that ztunnel gives them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::netns::Netns;

/// The mark by which a redirector knows ztunnel's own sockets (in-pod contract).
pub const MARK: u32 = 0x539;

/// How long a listener waits when descriptors have run out, so that connections get to close some.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

const BACKLOG: i32 = 128;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where sockets are made, and what they all carry.
#[derive(Clone)]
pub struct Factory {
    /// The namespace.
    pub netns: Netns,
    /// The mark, in the in-pod contract.
    pub mark: Option<u32>,
}

impl Factory {
    /// A listener on every address of the port; IPv4 only where IPv6 is off.
    pub async fn listen(&self, port: u16, transparent: bool) -> io::Result<TcpListener> {
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match self.listen_on(SocketAddr::new(any, port), transparent).await {
            Err(error) if ipv6_is_off(&error) => {
                let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                self.listen_on(SocketAddr::new(any, port), transparent).await
            }
            result => result,
        }
    }

    /// A listener on one address.
    pub async fn listen_on(&self, address: SocketAddr, transparent: bool) -> io::Result<TcpListener> {
        let mark = self.mark;
        let socket = self.netns.run(move || {
            let socket = new_socket(address, Type::STREAM, mark)?;
            // In pods proxies overlap. In a namespace of its own a proxy listens alone, and before Linux 6.6 no program
            // can hand a connection to a listener that shares its port.
            if mark.is_some() {
                socket.set_reuse_port(true)?;
            } else {
                socket.set_reuse_address(true)?;
            }
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            if transparent {
                // One bit in the kernel serves both families, and the IPv4 option sets it on IPv6 sockets too.
                socket.set_ip_transparent_v4(true)?;
            }
            Ok(socket)
        });
        TcpListener::from_std(socket.await?.into())
    }

    /// A UDP socket bound to `address`, with port 0 to any port.
    pub async fn udp(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let mark = self.mark;
        let socket = self.netns.run(move || {
            let socket = new_socket(address, Type::DGRAM, mark)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            Ok(socket)
        });
        UdpSocket::from_std(socket.await?.into())
    }

    /// Connects to `destination`, from `spoofed` if that is another host's address.
    pub async fn connect(&self, destination: SocketAddr, spoofed: Option<IpAddr>) -> io::Result<TcpStream> {
        timeout(CONNECT_TIMEOUT, self.connect_unbounded(destination, spoofed))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn connect_unbounded(
        &self,
        destination: SocketAddr,
        spoofed: Option<IpAddr>,
    ) -> io::Result<TcpStream> {
        // A connection from the destination's own address would look like a loop to the application.
        let spoofed = spoofed.filter(|source| *source != destination.ip());
        let mark = self.mark;
        let make = move || {
            let socket = new_socket(destination, Type::STREAM, mark)?;
            if let Some(source) = spoofed {
                bind_foreign(&socket, source)?;
            }
            Ok(socket)
        };
        let socket = TcpSocket::from_std_stream(self.netns.run(make).await?.into());
        let stream = socket.connect(destination).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn new_socket(address: SocketAddr, kind: Type, mark: Option<u32>) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM {
        Protocol::TCP
    } else {
        Protocol::UDP
    };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    Ok(socket)
}

fn bind_foreign(socket: &Socket, source: IpAddr) -> io::Result<()> {
    socket.set_ip_transparent_v4(true)?;
    match source {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&SocketAddr::new(source, 0).into())
}

fn ipv6_is_off(error: &io::Error) -> bool {
    let unsupported = nix::errno::Errno::EAFNOSUPPORT as i32;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(unsupported)
}

/// Puts an IPv4-mapped address into IPv4's own form.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Makes the coming close a reset.
pub fn reset_on_close(stream: &TcpStream) {
    // A socket that cannot be reset any more is closed already.
    SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap_or_default();
}
