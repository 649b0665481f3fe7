//! Notices when the node's interfaces, routes or rules change, or its CNI configuration.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedReceiver;
use inotify::{EventStream, Inotify, WatchMask};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout, timeout_at};

use super::{Place, WiringError, open};
use crate::burst::Burst;
use crate::enroll::EnrollError;
use crate::inside;

/// What no message tells of, such as a directory that was not there, is noticed after this.
const AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// A subscription to changes of the node.
pub(super) struct Changes {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, rtnetlink::sys::SocketAddr)>,
    connection: JoinHandle<()>,
    files: Option<EventStream<[u8; 4096]>>,
}

/// As long as nothing can be heard of.
pub(super) async fn pause() {
    sleep(AT_LEAST_EVERY).await;
}

impl Changes {
    pub(super) fn start(place: &Place) -> Result<Self, WiringError> {
        let host = open(&place.host_netns)?;
        let runtime = Handle::current();
        let made = inside::run(host.as_fd(), || {
            let _context = runtime.enter();
            new_multicast_connection(&[
                MulticastGroup::Link,
                MulticastGroup::Ipv4Route,
                MulticastGroup::Ipv6Route,
                MulticastGroup::Ipv4Rule,
                MulticastGroup::Ipv6Rule,
            ])
        });
        let (connection, _, messages) = made
            .map_err(EnrollError::from)?
            .map_err(EnrollError::NetlinkSocket)?;
        Ok(Self {
            messages,
            connection: tokio::spawn(connection),
            files: watch(&place.cni_conf_dir).ok(),
        })
    }

    /// Waits until something has changed and the burst is over.
    pub(super) async fn next(&mut self, place: &Place) {
        if timeout(AT_LEAST_EVERY, self.any()).await.is_ok() {
            let burst = Burst::begin();
            while let Some(deadline) = burst.deadline()
                && timeout_at(deadline, self.any()).await.is_ok()
            {}
        }
        if self.files.is_none() {
            self.files = watch(&place.cni_conf_dir).ok();
        }
    }

    async fn any(&mut self) {
        let files = &mut self.files;
        let file = async {
            match files {
                Some(events) => events.next().await.is_some(),
                None => std::future::pending().await,
            }
        };
        let watched = tokio::select! {
            message = self.messages.next() => {
                if message.is_none() {
                    // The kernel closed the socket; what goes on is looking from time to time.
                    std::future::pending::<()>().await;
                }
                true
            }
            watched = file => watched,
        };
        if !watched {
            self.files = None;
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Not `MODIFY`: a file that is written in place is read once, when its writer closes it.
fn watch(directory: &Path) -> io::Result<EventStream<[u8; 4096]>> {
    let changes = WatchMask::CLOSE_WRITE | WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
    let inotify = Inotify::init()?;
    inotify.watches().add(directory, changes | WatchMask::ONLYDIR)?;
    inotify.into_event_stream([0; 4096])
}
