//! The proxy's end of the ZDS connection: one message per datagram, descriptors alongside.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, recvmsg, sendmsg,
    socket,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::wire;

/// Longer messages are refused, as ztunnel refuses them.
const RECEIVE_BUFFER: usize = 1024;

/// A connection to the node agent.
pub struct Channel {
    // Of the stream type only the waiting is used; the socket itself keeps datagrams apart.
    socket: UnixStream,
}

/// A message as it came.
#[derive(Debug)]
pub struct Message {
    /// What it asks for.
    pub request: wire::Request,
    /// The namespace that came with it.
    pub netns: Option<File>,
}

/// Why nothing could be received.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("ZDS socket: {0}")]
    Socket(#[from] io::Error),
    /// The datagram or its descriptors did not fit.
    #[error("received truncated message")]
    Truncated,
    /// Not exactly one descriptor.
    #[error("Expected 1 FD, got {0}")]
    Descriptors(usize),
    /// The bytes make no sense.
    #[error("undecodable message: {0}")]
    Undecodable(#[from] wire::Error),
}

impl Channel {
    /// Connects to the node agent's socket.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self {
            socket: UnixStream::from_std(socket.into())?,
        })
    }

    /// Sends one message.
    pub async fn send(&self, message: &[u8]) -> io::Result<()> {
        let send = || {
            let parts = [IoSlice::new(message)];
            Ok(sendmsg::<()>(
                self.socket.as_raw_fd(),
                &parts,
                &[],
                MsgFlags::MSG_NOSIGNAL,
                None,
            )?)
        };
        self.socket.async_io(Interest::WRITABLE, send).await.map(drop)
    }

    /// Waits for the next message; none at end of file. Losing the future loses nothing.
    pub async fn receive(&self) -> Result<Option<Message>, Error> {
        let datagram = self
            .socket
            .async_io(Interest::READABLE, || receive(&self.socket))
            .await?;
        datagram.map(Datagram::message).transpose()
    }
}

struct Datagram {
    bytes: Vec<u8>,
    descriptors: Vec<io::Result<File>>,
    truncated: bool,
}

impl Datagram {
    fn message(mut self) -> Result<Message, Error> {
        if self.truncated {
            return Err(Error::Truncated);
        }
        if self.descriptors.len() > 1 {
            return Err(Error::Descriptors(self.descriptors.len()));
        }
        let request = wire::Request::decode(&self.bytes)?;
        let wanted = usize::from(matches!(request, wire::Request::Add { .. }));
        if self.descriptors.len() != wanted {
            return Err(Error::Descriptors(self.descriptors.len()));
        }
        let netns = self.descriptors.pop().transpose()?;
        Ok(Message { request, netns })
    }
}

fn receive(socket: &UnixStream) -> io::Result<Option<Datagram>> {
    let mut buffer = [0; RECEIVE_BUFFER];
    let mut control = nix::cmsg_space!([RawFd; 4]);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let descriptors = received.cmsgs()?.flat_map(descriptors_of).map(owned).collect();
    let truncated = received
        .flags
        .intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
    let length = received.bytes;
    Ok((length > 0).then(|| Datagram {
        bytes: buffer[..length].to_vec(),
        descriptors,
        truncated,
    }))
}

fn descriptors_of(message: ControlMessageOwned) -> Vec<RawFd> {
    match message {
        ControlMessageOwned::ScmRights(descriptors) => descriptors,
        _ => Vec::new(),
    }
}

/// Opens what a received descriptor refers to anew, and closes the descriptor: ownership without `unsafe`.
fn owned(descriptor: RawFd) -> io::Result<File> {
    // A pipe or a device instead of a namespace must not block.
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(format!("/proc/self/fd/{descriptor}"));
    nix::unistd::close(descriptor)?;
    opened
}
