//! Where a redirected connection was going: asked of the kernel, else read from the socket itself.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::record::Learnt;
use crate::sockets::canonical;

/// The address that the client connected to; never the proxy's listener unless nothing was redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginalDestination {
    /// The address.
    pub address: SocketAddr,
    /// How it was found.
    pub learnt: Learnt,
}

/// Finds it in ztunnel's order: IPv4's option, IPv6's option, local address.
pub fn original_destination(stream: &TcpStream) -> io::Result<OriginalDestination> {
    let socket = SockRef::from(stream);
    let told = socket.original_dst_v4().or_else(|_| socket.original_dst_v6());
    match told.ok().and_then(|address| address.as_socket()) {
        Some(address) => Ok(OriginalDestination {
            address: canonical(address),
            learnt: Learnt::SoOriginalDst,
        }),
        None => Ok(OriginalDestination {
            address: canonical(stream.local_addr()?),
            learnt: Learnt::LocalAddress,
        }),
    }
}
