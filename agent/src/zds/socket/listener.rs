//! The listening end and its file.
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::poll::PollFlags;
use socket2::{Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Seqpacket, poll_now};
use crate::polled::polled;
use crate::socket_file::{self, BindError, SocketFile};

/// A listening socket and its file, which goes when this does.
#[derive(Debug)]
pub struct SeqpacketListener {
    socket: AsyncFd<Socket>,
    file: SocketFile,
}

impl SeqpacketListener {
    /// Serves `path`.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let (socket, file) = socket_file::bind(path, Type::SEQPACKET)?;
        let socket = polled(socket, Interest::READABLE).map_err(|source| BindError::Io {
            path: path.to_owned(),
            step: "poll the socket",
            source,
        })?;
        Ok(Self { socket, file })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The next connection whose peer is still there. Cancelling it loses nothing.
    pub async fn accept(&self) -> io::Result<Seqpacket> {
        loop {
            let accepted = self.socket.async_io(Interest::READABLE, Socket::accept).await;
            match accepted {
                Ok((socket, _unnamed)) if is_hung_up(&socket)? => {}
                Ok((socket, _unnamed)) => {
                    socket.set_nonblocking(true)?;
                    return Seqpacket::new(OwnedFd::from(socket));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the peer has gone already, so that a storm of dead connections costs no tasks.
fn is_hung_up(socket: &Socket) -> io::Result<bool> {
    Ok(poll_now(socket.as_fd())?.contains(PollFlags::POLLHUP))
}
