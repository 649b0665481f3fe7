//! Asks the agent.

use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, sendmsg, socket_with,
};

use crate::protocol::{self, Answer, LONGEST, Request};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no agent listens: {0}")]
    Away(io::Error),
    /// The agent ended before it answered.
    #[error("the agent ended before it answered")]
    Ended,
    /// It takes too long.
    #[error("the agent has not answered in time")]
    Late,
    /// The socket cannot be used.
    #[error("{step}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The answer makes no sense.
    #[error("the agent's answer cannot be read: {0}")]
    Answer(serde_json::Error),
    /// It is of another version.
    #[error("the agent answers in version {0} of the protocol, this plugin speaks {speaks}", speaks = protocol::VERSION)]
    Version(u32),
}

/// Asks, and waits for the answer until `deadline`.
///
/// # Errors
/// [`AskError`].
pub fn ask(
    socket: &Path,
    request: &Request,
    netns: Option<&File>,
    deadline: Instant,
) -> Result<Answer, AskError> {
    let line = protocol::line(request).map_err(AskError::Answer)?;
    let mut stream = connected(socket, deadline)?;
    send(&mut stream, &line, netns).map_err(|error| ended_or(error, "send to the agent"))?;
    let line = receive(&stream, deadline)?;
    let answer: Answer = serde_json::from_slice(&line).map_err(AskError::Answer)?;
    match answer.version {
        protocol::VERSION => Ok(answer),
        other => Err(AskError::Version(other)),
    }
}

/// A socket that has until the deadline to connect: a full backlog must not hold us up for ever.
fn connected(path: &Path, deadline: Instant) -> Result<UnixStream, AskError> {
    let failed = |step| move |source: io::Error| AskError::Io { step, source };
    let kind = SocketType::STREAM;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
    let socket = UnixStream::from(socket.map_err(io::Error::from).map_err(failed("make a socket"))?);
    let address = SocketAddrUnix::new(path).map_err(io::Error::from);
    let address = address.map_err(failed("name the agent's socket"))?;
    loop {
        let left = left(deadline).map_err(|_| AskError::Late)?;
        let timed = socket.set_write_timeout(Some(left));
        timed.map_err(failed("wait on the socket"))?;
        match connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(AskError::Late),
            Err(error @ (Errno::NOENT | Errno::CONNREFUSED)) => return Err(AskError::Away(error.into())),
            Err(error) => return Err(failed("connect to the agent")(error.into())),
        }
    }
}

/// The descriptor goes with the first byte.
fn send(stream: &mut UnixStream, line: &[u8], netns: Option<&File>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptor: Option<[BorrowedFd<'_>; 1]> = netns.map(|netns| [netns.as_fd()]);
    if let Some(descriptor) = &descriptor {
        control.push(SendAncillaryMessage::ScmRights(descriptor));
    }
    let sent = sendmsg(&*stream, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL)?;
    stream.write_all(&line[sent.min(line.len())..])
}

/// Most answers fit.
const USUAL: usize = 256;

fn receive(stream: &UnixStream, deadline: Instant) -> Result<Vec<u8>, AskError> {
    let mut line = Vec::with_capacity(USUAL);
    while !line.ends_with(b"\n") {
        line.reserve(1);
        let read = left(deadline).and_then(|left| {
            stream.set_read_timeout(Some(left))?;
            Ok(recv(stream, spare_capacity(&mut line), RecvFlags::empty())?)
        });
        match read {
            Ok((_, 0)) => return Err(AskError::Ended),
            Ok(_) if line.len() as u64 <= LONGEST => {}
            Ok(_) => {
                let source = io::Error::new(io::ErrorKind::InvalidData, "it has no end");
                return Err(AskError::Io {
                    step: "read the agent's answer",
                    source,
                });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ended_or(error, "read the agent's answer")),
        }
    }
    Ok(line)
}

fn ended_or(source: io::Error, step: &'static str) -> AskError {
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Late,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => AskError::Ended,
        _ => AskError::Io { step, source },
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}
