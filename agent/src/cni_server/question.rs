//! A question on its way from the plugin, with the network namespace that comes with it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use weir_cni::protocol::{LONGEST, Request, VERSION};

/// Why a question cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum QuestionError {
    #[error("the question cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("the question ends before its end")]
    Cut,
    #[error("the question has no end")]
    TooLong,
    #[error("the question makes no sense: {0}; is the plugin of the agent's version?")]
    Malformed(#[from] serde_json::Error),
    #[error(
        "the question is of version {0}, this agent answers {VERSION}; the plugin is replaced when the agent starts"
    )]
    Version(u32),
}

/// Reads one question.
pub(super) async fn read(stream: &UnixStream) -> Result<(Request, Option<OwnedFd>), QuestionError> {
    let (mut line, mut netns) = (Vec::new(), None);
    let mut part = [0; 4096];
    while line.last() != Some(&b'\n') {
        let received = stream.async_io(Interest::READABLE, || receive(stream, &mut part));
        let (length, descriptor) = received.await?;
        if length == 0 {
            return Err(QuestionError::Cut);
        }
        if (line.len() + length) as u64 > LONGEST {
            return Err(QuestionError::TooLong);
        }
        line.extend_from_slice(&part[..length]);
        // Whoever sends more than one has them closed.
        netns = netns.or(descriptor);
    }
    let request: Request = serde_json::from_slice(&line)?;
    match request.version {
        VERSION => Ok((request, netns)),
        other => Err(QuestionError::Version(other)),
    }
}

fn receive(stream: &UnixStream, part: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(part)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors: Vec<OwnedFd> = descriptors.flatten().collect();
    Ok((received.bytes, descriptors.into_iter().next()))
}
