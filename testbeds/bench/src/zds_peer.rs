//! A ztunnel that acknowledges every pod at once and serves none: what is left of an enrolment is the agent's part.

use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};
use socket2::{Domain, SockAddr, Socket, Type};

/// `ZdsHello{version: V1}`.
const HELLO: [u8; 2] = [0x08, 0x01];
/// `WorkloadResponse{ack: {}}`.
const ACK: [u8; 2] = [0x0a, 0x00];
/// As ztunnel's.
const BUFFER: usize = 1024;

/// Connects, and answers on a thread that ends with the agent.
pub fn connect(socket: &Path) -> Result<()> {
    let peer = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    peer.connect(&SockAddr::unix(socket)?)
        .context("connecting to the agent as a ztunnel")?;
    peer.send(&HELLO)?;
    thread::spawn(move || answer_all(&peer));
    Ok(())
}

fn answer_all(peer: &Socket) -> io::Result<()> {
    // Namespaces that come along are closed by the kernel: there is no room for them.
    let mut message = [MaybeUninit::uninit(); BUFFER];
    while peer.recv(&mut message)? > 0 {
        peer.send(&ACK)?;
    }
    Ok(())
}
