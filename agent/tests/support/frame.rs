//! Frames as a test has built them, sent from the calling thread's namespace.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{LinkAddr, MsgFlags, recvfrom, sendto};
use socket2::{Domain, Protocol, Socket, Type};

/// All protocols, in the byte order in which packet sockets want it.
const EVERYTHING: i32 = 3u16.to_be() as i32;

/// Sends the frame out by the interface with this index, by which `neighbour` is reached: what is sent there makes the
/// kernel tell the interface's address.
pub fn send(index: u32, neighbour: SocketAddr, frame: &[u8]) -> io::Result<()> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(EVERYTHING)))?;
    UdpSocket::bind("0.0.0.0:0")?.send_to(b"", neighbour)?;
    let mut ignored = [0; 64];
    loop {
        if let (_, Some(link)) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut ignored)?
            && link.ifindex() == index as usize
        {
            sendto(socket.as_raw_fd(), frame, &link, MsgFlags::empty())?;
            return Ok(());
        }
    }
}
