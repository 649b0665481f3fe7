//! Sockets with the options that matter to redirection.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Makes a TCP or UDP socket of the address's family.
pub(super) fn open(kind: Type, address: SocketAddr) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM {
        Protocol::TCP
    } else {
        Protocol::UDP
    };
    Socket::new(Domain::for_address(address), kind, Some(protocol))
}

/// Makes an MPTCP socket of the address's family.
pub(super) fn open_multipath(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::MPTCP))
}

/// Lets a socket bind to addresses that are not this host's.
pub(super) fn make_transparent(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        socket.set_ip_transparent_v4(true)
    } else {
        socket.set_ip_transparent_v6(true)
    }
}

/// The socket's own address.
pub(super) fn local(socket: &Socket) -> io::Result<SocketAddr> {
    inet(&socket.local_addr()?)
}

/// The address the socket believes to be connected to.
pub(super) fn peer(socket: &Socket) -> io::Result<SocketAddr> {
    inet(&socket.peer_addr()?)
}

/// The IPv6 form in which a dual-stack socket names an IPv4 address.
pub(super) fn v4_mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// The IPv4 form again, so that reports compare equal whatever family the socket is.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn inet(address: &SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}
