//! What passes an interface, frame by frame.

use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, recvfrom, setsockopt, sockopt::RcvBufForce};
use socket2::{Domain, Protocol, Socket, Type};

use crate::deadline::{Expired, eventually};
use crate::netlink;
use crate::netns::Netns;

mod frame;

pub use frame::{Frame, Segment, TcpFlags};

/// Why nothing can be captured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The interface does not exist.
    #[error(transparent)]
    Interface(#[from] netlink::Error),
    /// The packet socket could not be made.
    #[error("cannot open a packet socket: {0}")]
    Socket(#[from] std::io::Error),
}

// Every protocol, in the byte order in which packet sockets want it.
const EVERYTHING: i32 = 3u16.to_be() as i32;
const ROOM: usize = 32 << 20;
const SNAPSHOT: usize = 256;
const OUTGOING: u8 = 4;

/// A running capture on one interface; dropping it ends it.
///
/// The kernel queues frames as they pass, so after an exchange none is still to come.
#[derive(Debug)]
pub struct Capture {
    socket: Socket,
    index: usize,
    frames: Mutex<Vec<Frame>>,
}

impl Capture {
    /// Starts to capture on an interface of a namespace.
    pub fn start(netns: &Netns, interface: &str) -> Result<Self, Error> {
        let index = netns
            .netlink(async |netlink| netlink.interface(interface).await)?
            .index;
        let socket = netns.run(open)?;
        Ok(Self {
            socket,
            index: index as usize,
            frames: Mutex::default(),
        })
    }

    /// All frames so far, in order.
    pub fn frames(&self) -> Vec<Frame> {
        self.drain().clone()
    }

    /// The first packets of TCP connections: SYN without ACK.
    pub fn tcp_syns(&self) -> Vec<Segment> {
        self.segments()
            .into_iter()
            .filter(|segment| segment.flags.syn && !segment.flags.ack)
            .collect()
    }

    /// All TCP segments.
    pub fn segments(&self) -> Vec<Segment> {
        self.drain().iter().filter_map(|frame| frame.tcp).collect()
    }

    /// Waits until the frames so far satisfy a condition, and returns them.
    pub fn settle(
        &self,
        deadline: Duration,
        condition: impl Fn(&[Frame]) -> bool,
    ) -> Result<Vec<Frame>, Expired> {
        eventually(deadline, || {
            Some(self.frames()).filter(|frames| condition(frames))
        })
    }

    fn drain(&self) -> MutexGuard<'_, Vec<Frame>> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = [0; SNAPSHOT];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, Some(link))) if link.ifindex() == self.index => {
                    frames.push(Frame::read(
                        &buffer[..length.min(SNAPSHOT)],
                        link.pkttype() == OUTGOING,
                    ));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return frames,
            }
        }
    }
}

fn open() -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(EVERYTHING)))?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, RcvBufForce, &ROOM)?;
    Ok(socket)
}
