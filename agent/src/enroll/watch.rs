//! Notices when a pod's addresses or interfaces change.

use std::os::fd::BorrowedFd;

use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedReceiver;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::EnrollError;
use crate::inside;

/// A subscription to the address changes of one netns.
pub struct AddressWatch {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, rtnetlink::sys::SocketAddr)>,
    connection: JoinHandle<()>,
}

impl AddressWatch {
    /// Subscribes. The socket belongs to the namespace it was made in, whoever reads it.
    ///
    /// # Errors
    /// [`EnrollError`] if the namespace cannot be entered or the kernel refuses.
    pub fn start(netns: BorrowedFd<'_>) -> Result<Self, EnrollError> {
        let runtime = Handle::current();
        let made = inside::run(netns, || {
            let _context = runtime.enter();
            new_multicast_connection(&[
                MulticastGroup::Link,
                MulticastGroup::Ipv4Ifaddr,
                MulticastGroup::Ipv6Ifaddr,
            ])
        })?;
        let (connection, _, messages) = made.map_err(EnrollError::NetlinkSocket)?;
        Ok(Self {
            messages,
            connection: tokio::spawn(connection),
        })
    }

    /// Waits for the next change.
    pub async fn changed(&mut self) {
        if self.messages.next().await.is_none() {
            // The kernel closed the socket; the regular verification goes on looking.
            std::future::pending::<()>().await;
        }
        // One change often brings several messages.
        while self.messages.try_recv().is_ok() {}
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
