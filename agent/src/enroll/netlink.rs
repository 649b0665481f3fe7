//! Netlink requests in a pod's netns.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use bytes::BufMut;
use rtnetlink::Handle;
use rtnetlink::sys::{AsyncSocket, Socket, SocketAddr};
use tokio::runtime::Builder;

use super::EnrollError;
use super::requests::Requests;
use crate::inside;

/// Runs `work` inside `netns` with a socket for few and simple requests.
///
/// # Errors
/// [`EnrollError`] if the namespace cannot be entered, and what `work` fails with.
pub fn ask<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce(&mut Requests) -> Result<T, EnrollError> + Send,
) -> Result<T, EnrollError> {
    inside::run(netns, || work(&mut Requests::new()?))?
}

/// Runs `work` inside `netns` with a netlink socket of that namespace.
///
/// # Errors
/// [`EnrollError`] if the namespace cannot be entered, and what `work` fails with.
pub fn run<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl AsyncFnOnce(&Handle) -> Result<T, EnrollError> + Send,
) -> Result<T, EnrollError> {
    inside::run(netns, || {
        let runtime = Builder::new_current_thread()
            .build()
            .map_err(EnrollError::NetlinkSocket)?;
        runtime.block_on(async {
            let (connection, handle, _) =
                rtnetlink::new_connection_with_socket::<Prompt>().map_err(EnrollError::NetlinkSocket)?;
            tokio::select! {
                biased;
                done = work(&handle) => done,
                () = connection => Err(EnrollError::NetlinkSocket(io::ErrorKind::NotConnected.into())),
            }
        })
    })?
}

/// A socket of routing requests. The kernel carries each out before it returns from sending, so that answers are there
/// by then, and nothing has to wait for them in a poll.
struct Prompt(Socket);

impl Prompt {
    fn sent(context: &Context<'_>, sent: io::Result<usize>) -> Poll<io::Result<usize>> {
        // Whoever sends has looked for answers before.
        context.waker().wake_by_ref();
        Poll::Ready(sent)
    }

    fn received<T>(received: io::Result<T>) -> Poll<io::Result<T>> {
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            received => Poll::Ready(received),
        }
    }
}

impl AsyncSocket for Prompt {
    fn socket_ref(&self) -> &Socket {
        &self.0
    }

    fn socket_mut(&mut self) -> &mut Socket {
        &mut self.0
    }

    fn new(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    fn poll_send(&self, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Self::sent(context, self.0.send(buffer, 0))
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        buffer: &[u8],
        address: &SocketAddr,
    ) -> Poll<io::Result<usize>> {
        Self::sent(context, self.0.send_to(buffer, address, 0))
    }

    fn poll_recv<B: BufMut>(&self, _: &mut Context<'_>, buffer: &mut B) -> Poll<io::Result<()>> {
        Self::received(self.0.recv(buffer, 0).map(drop))
    }

    fn poll_recv_from<B: BufMut>(&self, _: &mut Context<'_>, buffer: &mut B) -> Poll<io::Result<SocketAddr>> {
        Self::received(self.0.recv_from(buffer, 0).map(|(_, sender)| sender))
    }

    fn poll_recv_from_full(&self, _: &mut Context<'_>) -> Poll<io::Result<(Vec<u8>, SocketAddr)>> {
        Self::received(self.0.recv_from_full())
    }
}
