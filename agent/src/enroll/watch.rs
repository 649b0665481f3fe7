//! Notices when a pod's addresses or interfaces change.

use std::io;
use std::os::fd::BorrowedFd;

use rtnetlink::MulticastGroup;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use tokio::runtime::Handle;

use super::EnrollError;
use crate::inside;

const GROUPS: [MulticastGroup; 3] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
];
/// What a message says is read from the namespace itself, so only that there is one counts; the kernel discards what
/// does not fit.
const ENOUGH: usize = 64;

/// A subscription to the address changes of one netns: a socket with neither task nor buffer, as there is one per pod.
pub struct AddressWatch {
    socket: TokioSocket,
}

impl AddressWatch {
    /// Subscribes. The socket belongs to the namespace it was made in, whoever reads it.
    ///
    /// # Errors
    /// [`EnrollError`] if the namespace cannot be entered or the kernel refuses.
    pub fn start(netns: BorrowedFd<'_>) -> Result<Self, EnrollError> {
        let runtime = Handle::current();
        let subscribed = inside::run(netns, || {
            let _context = runtime.enter();
            subscribe()
        })?;
        let socket = subscribed.map_err(EnrollError::NetlinkSocket)?;
        Ok(Self { socket })
    }

    /// Waits for the next change.
    pub async fn changed(&mut self) {
        let mut message = [0_u8; ENOUGH];
        let waited = self.socket.recv(&mut message.as_mut_slice()).await;
        if waited.is_err_and(|error| !was_overrun(&error)) {
            // The socket is of no use any more; the regular verification goes on looking.
            std::future::pending::<()>().await;
        }
        // One change often brings several messages.
        while self
            .socket
            .socket_ref()
            .recv(&mut message.as_mut_slice(), libc::MSG_DONTWAIT)
            .is_ok()
        {}
    }
}

fn subscribe() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    for group in GROUPS {
        socket.socket_mut().add_membership(group as u32)?;
    }
    Ok(socket)
}

/// More changes came than the socket could hold.
fn was_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}
