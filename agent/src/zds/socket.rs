//! SOCK_SEQPACKET on tokio: a listener that owns its file, and connections that carry one descriptor at most.
mod listener;

use std::io;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, recv, sendmsg, sockopt};
use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use listener::SeqpacketListener;

use crate::polled::polled;

/// Longest answer that is read whole; ztunnel's errors with a backtrace go past 1 KiB.
const MAX_DATAGRAM: usize = 16 * 1024;

/// The process at the other end, as the kernel knew it when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its process id in our pid namespace; 0 when it is not visible from there.
    pub pid: i32,
    /// Its user id.
    pub uid: u32,
}

/// Why nothing was received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The peer has closed its end.
    #[error("ztunnel closed the connection")]
    Closed,
    /// The datagram was longer than any answer is.
    #[error("a datagram of {length} bytes: answers have at most {MAX_DATAGRAM}")]
    Oversized {
        /// Its length.
        length: usize,
    },
    /// The kernel refused.
    #[error("cannot receive from ztunnel: {0}")]
    Io(#[source] io::Error),
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The descriptor cannot be passed; the connection is as good as before.
    #[error("the network namespace cannot be handed over: {0}")]
    Descriptor(#[source] io::Error),
    /// The connection is of no more use.
    #[error("cannot send to ztunnel: {0}")]
    Io(#[source] io::Error),
}

/// One connection.
#[derive(Debug)]
pub struct Seqpacket {
    socket: AsyncFd<OwnedFd>,
    peer: Peer,
}

impl Seqpacket {
    /// Takes a connected, non-blocking socket.
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let peer = peer_of(socket.as_fd())?;
        Ok(Self {
            socket: polled(socket, Interest::READABLE | Interest::WRITABLE)?,
            peer,
        })
    }

    /// Who is at the other end.
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// The next datagram. Cancelling it loses nothing.
    pub async fn receive(&self) -> Result<Vec<u8>, ReceiveError> {
        let received = self.when_ready(Interest::READABLE, datagram).await;
        let (length, datagram) = received.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionReset => ReceiveError::Closed,
            _ => ReceiveError::Io(error),
        })?;
        match length {
            0 => Err(ReceiveError::Closed),
            length if length > MAX_DATAGRAM => Err(ReceiveError::Oversized { length }),
            _ => Ok(datagram),
        }
    }

    /// Sends one datagram, with `descriptor` attached if there is one.
    pub async fn send(&self, datagram: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<(), SendError> {
        let attached = descriptor.map(|fd| [fd.as_raw_fd()]);
        let control: Vec<_> = attached
            .iter()
            .map(|fds| ControlMessage::ScmRights(fds))
            .collect();
        self.when_ready(Interest::WRITABLE, |fd| {
            sendmsg::<()>(
                fd.as_raw_fd(),
                &[IoSlice::new(datagram)],
                &control,
                MsgFlags::MSG_NOSIGNAL,
                None,
            )
        })
        .await
        .map(|_sent_whole| ())
        .map_err(|error| send_error(error, descriptor.is_some()))
    }

    /// Whether a datagram, or the end, is there already.
    pub fn is_readable(&self) -> Result<bool, ReceiveError> {
        Ok(!poll_now(self.socket.get_ref().as_fd())
            .map_err(ReceiveError::Io)?
            .is_empty())
    }

    async fn when_ready<T>(
        &self,
        interest: Interest,
        mut call: impl FnMut(BorrowedFd<'_>) -> nix::Result<T>,
    ) -> io::Result<T> {
        self.socket
            .async_io(interest, |socket| call(socket.as_fd()).map_err(io::Error::from))
            .await
    }
}

/// A datagram's true length, and as much of it as an answer has at most: the room for that is had while it is received,
/// not while it is waited for.
fn datagram(socket: BorrowedFd<'_>) -> nix::Result<(usize, Vec<u8>)> {
    let mut buffer = [0; MAX_DATAGRAM];
    // With MSG_TRUNC the kernel tells the true length. Descriptors sent to us are dropped by it, as there is no room
    // for them.
    let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)?;
    Ok((length, buffer[..length.min(MAX_DATAGRAM)].to_vec()))
}

/// Sorts errors that concern the descriptor only from those that end the connection.
fn send_error(error: io::Error, with_descriptor: bool) -> SendError {
    const ABOUT_DESCRIPTORS: [i32; 3] = [libc::EBADF, libc::EINVAL, libc::ETOOMANYREFS];
    match error.raw_os_error() {
        Some(code) if with_descriptor && ABOUT_DESCRIPTORS.contains(&code) => SendError::Descriptor(error),
        _ => SendError::Io(error),
    }
}

/// What can be read at this moment: data, or that the peer hung up.
fn poll_now(socket: BorrowedFd<'_>) -> io::Result<PollFlags> {
    let mut wanted = [PollFd::new(socket, PollFlags::POLLIN)];
    poll(&mut wanted, PollTimeout::ZERO)?;
    Ok(wanted[0].revents().unwrap_or(PollFlags::empty()))
}

fn peer_of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
    Ok(Peer {
        pid: credentials.pid(),
        uid: credentials.uid(),
    })
}
