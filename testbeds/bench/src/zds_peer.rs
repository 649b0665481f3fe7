//! A ztunnel that listens in every pod at once and serves none: what is left of an enrolment is the agent's part.

use std::io::{self, Read as _};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, SockAddr, Socket, Type};
use weir_testbeds::netns::Netns;

/// `ZdsHello{version: V1}`.
const HELLO: [u8; 2] = [0x08, 0x01];
/// `WorkloadResponse{ack: {}}`.
const ACK: [u8; 2] = [0x0a, 0x00];
/// As ztunnel's.
const BUFFER: usize = 1024;
const MARK: u32 = 0x539;
const PORTS: [u16; 2] = [15001, 15006];

/// What a pod's uid ends in, before its number.
pub const NAME: &str = "bystander-";

/// Connects, and answers on a thread that ends with the agent. `pods` are those that it listens in, by number.
pub fn connect(socket: &Path, pods: Vec<Netns>) -> Result<()> {
    let peer = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    peer.connect(&SockAddr::unix(socket)?)
        .context("connecting to the agent as a ztunnel")?;
    peer.send(&HELLO)?;
    thread::spawn(move || answer_all(&peer, &pods));
    Ok(())
}

fn answer_all(mut peer: &Socket, pods: &[Netns]) -> Result<()> {
    let mut listeners = Vec::new();
    let home = Netns::current()?;
    loop {
        // Namespaces that come along are closed by the kernel: there is no room for them.
        let mut message = [0; BUFFER];
        let length = peer.read(&mut message)?;
        if length == 0 {
            return Ok(());
        }
        if let Some(pod) = number(&message[..length]).and_then(|number| pods.get(number)) {
            // As ztunnel does it: on the thread that reads, there and back.
            enter(pod)?;
            listeners.extend(PORTS.map(listen));
            enter(&home)?;
        }
        peer.send(&ACK)?;
    }
}

fn enter(netns: &Netns) -> Result<()> {
    setns(netns, CloneFlags::CLONE_NEWNET).context("entering a pod as ztunnel does")
}

fn listen(port: u16) -> io::Result<Socket> {
    let listener = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    listener.set_mark(MARK)?;
    listener.set_ip_transparent_v4(true)?;
    listener.bind(&SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port).into())?;
    listener.listen(1)?;
    Ok(listener)
}

/// The number of the pod that a message is about, from the first name in it.
fn number(message: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(message);
    let (_, rest) = text.split_once(NAME)?;
    let end = rest.find(|character: char| !character.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn the_number_is_in_the_uid() {
        assert_eq!(number(b"\x0a\x20\x0a\x1etest-1-bystander-42\x12\x01"), Some(42));
        assert_eq!(number(b"\x1a\x00"), None);
    }
}
