//! A plugin's connection. It says all at once, most often before it is listened to, and takes its answer whole: the
//! runtime hears of a connection only if there is something to wait for.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use crate::polled::polled;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, accept_with, recvmsg, send,
};
use socket2::Socket;
use tokio::io::Interest;

pub(super) struct Line(OwnedFd);

impl Line {
    /// Takes the next that waits at a listener.
    pub(super) fn accept(listener: &Socket) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(Self(accept_with(listener, flags)?))
    }

    /// The file's mode keeps others out; this does so even where its directory was made by somebody else.
    pub(super) fn is_ours(&self) -> bool {
        let peer = getsockopt(&self.0, sockopt::PeerCredentials);
        peer.is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
    }

    /// The next part of what is said, how long it is, and a descriptor that came with it; others are closed.
    pub(super) async fn hear(&self, part: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
        self.when_ready(Interest::READABLE, |line| receive(line, part))
            .await
    }

    /// Says all of it.
    pub(super) async fn say(&self, mut answer: &[u8]) -> io::Result<()> {
        while !answer.is_empty() {
            let say = |line: BorrowedFd<'_>| Ok(send(line, answer, SendFlags::NOSIGNAL)?);
            let said = self.when_ready(Interest::WRITABLE, say).await?;
            answer = answer.get(said..).unwrap_or_default();
        }
        Ok(())
    }

    async fn when_ready<T>(
        &self,
        interest: Interest,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        match call(self.0.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
        polled(self.0.as_fd(), interest)?
            .async_io(interest, |line| call(*line))
            .await
    }
}

fn receive(line: BorrowedFd<'_>, part: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        line,
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
