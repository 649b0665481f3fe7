//! Notices when what a pod's capture depends on changes: its addresses, interfaces, routes and rules.

use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket as _, SocketAddr, TokioSocket};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout_at};
use weir_common::mark::TABLE;

use super::EnrollError;
use crate::burst::Burst;
use crate::inside;

const GROUPS: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];
/// Longer messages are not read to their end: they say that something has changed, and what there is now is read from
/// the namespace itself. A route fits.
const ENOUGH: usize = 512;
/// A pod whose addresses never rest is not looked at more often than this.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);

/// A subscription to the changes of one netns: a socket with neither task nor buffer, as there is one per pod.
pub struct NetnsWatch {
    socket: TokioSocket,
    last: Option<Instant>,
    /// What has not been told yet, and since when more is waited for.
    noticed: Option<(Change, Burst)>,
}

/// What a message says, by how soon it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// A route or a rule of ours was written.
    Ours,
    /// A route or a rule: which interface is the first, what may get in the way.
    Routing,
    /// An address or an interface, of which nothing is captured before it is known; or what could not be read.
    Reach,
}

impl NetnsWatch {
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
        Ok(Self {
            socket,
            last: None,
            noticed: None,
        })
    }

    /// Waits for the next change that matters. Of those that can wait, all that come together count as one. Whoever
    /// gives up and waits again misses none.
    pub async fn changed(&mut self) {
        if self.noticed.is_none() {
            let change = self.next().await;
            self.noticed = Some((change, Burst::begin()));
        }
        while let Some((Change::Routing, burst)) = self.noticed
            && let Some(deadline) = burst.deadline()
            && let Ok(another) = timeout_at(deadline, self.next()).await
        {
            self.noticed = Some((another, burst));
        }
        if let Some(last) = self.last {
            sleep_until(last + AT_MOST_EVERY).await;
        }
        self.noticed = None;
        self.last = Some(Instant::now());
    }

    async fn next(&mut self) -> Change {
        loop {
            let mut found = self.receive().await;
            // One change often brings several messages.
            while let Some(change) = self.received() {
                found = found.max(change);
            }
            if found != Change::Ours {
                return found;
            }
        }
    }

    async fn receive(&self) -> Change {
        // The buffer lives while it is looked, not while it is waited: that would be one for each pod.
        let message = poll_fn(|context| {
            let mut buffer = [0_u8; ENOUGH];
            let mut rest = buffer.as_mut_slice();
            let polled = self.socket.poll_recv(context, &mut rest);
            let read = ENOUGH - rest.len();
            polled.map_ok(|()| change_of(buffer.get(..read).unwrap_or_default()))
        });
        match message.await {
            Ok(change) => change,
            Err(error) if was_overrun(&error) => Change::Reach,
            // The socket is of no use any more; the regular verification goes on looking.
            Err(_) => pending().await,
        }
    }

    /// A further message, if one is there.
    fn received(&self) -> Option<Change> {
        let mut buffer = [0_u8; ENOUGH];
        let mut rest = buffer.as_mut_slice();
        self.socket
            .socket_ref()
            .recv(&mut rest, libc::MSG_DONTWAIT)
            .ok()?;
        let read = ENOUGH - rest.len();
        Some(change_of(buffer.get(..read).unwrap_or_default()))
    }
}

fn change_of(message: &[u8]) -> Change {
    let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) else {
        return Change::Reach;
    };
    match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) if is_ours(&route) => Change::Ours,
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRule(rule)) if leads_to_ours(&rule) => {
            Change::Ours
        }
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(_)
            | RouteNetlinkMessage::DelRoute(_)
            | RouteNetlinkMessage::NewRule(_)
            | RouteNetlinkMessage::DelRule(_),
        ) => Change::Routing,
        _ => Change::Reach,
    }
}

/// The kernel tells of a route that is replaced by the same, which enrolment does each time.
fn is_ours(route: &RouteMessage) -> bool {
    route.attributes.contains(&RouteAttribute::Table(TABLE))
}

fn leads_to_ours(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::Table(TABLE))
}

fn subscribe() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    // All of them are among those that fit into an address.
    let groups = GROUPS.iter().map(|group| 1 << (*group as u32 - 1));
    let groups = groups.fold(0, |all, group: u32| all | group);
    socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
    Ok(socket)
}

/// More changes came than the socket could hold.
fn was_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::address::AddressMessage;
    use netlink_packet_route::route::{RouteAttribute, RouteMessage};
    use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
    use rtnetlink::packet_core::NetlinkMessage;
    use weir_common::mark::TABLE;

    use super::{Change, change_of};

    fn judged(message: RouteNetlinkMessage) -> Change {
        let mut message = NetlinkMessage::from(message);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        change_of(&bytes)
    }

    #[test]
    fn what_enrolment_writes_itself_wakes_nobody() {
        let route = |table| {
            let mut route = RouteMessage::default();
            route.attributes.push(RouteAttribute::Table(table));
            route
        };
        let new = RouteNetlinkMessage::NewRoute;
        assert_eq!(judged(new(route(TABLE))), Change::Ours);
        assert_eq!(judged(new(route(254))), Change::Routing);
        let gone = RouteNetlinkMessage::DelRoute(route(TABLE));
        assert_eq!(judged(gone), Change::Routing, "it has to be put back");
        let rule = |table| {
            let mut rule = RuleMessage::default();
            rule.attributes.push(RuleAttribute::Table(table));
            rule
        };
        let new = RouteNetlinkMessage::NewRule;
        assert_eq!(judged(new(rule(TABLE))), Change::Ours);
        assert_eq!(judged(new(rule(254))), Change::Routing);
        let gone = RouteNetlinkMessage::DelRule(rule(TABLE));
        assert_eq!(judged(gone), Change::Routing, "it has to be put back");
        let address = RouteNetlinkMessage::NewAddress(AddressMessage::default());
        assert_eq!(judged(address), Change::Reach);
        assert_eq!(change_of(&[]), Change::Reach);
    }
}
