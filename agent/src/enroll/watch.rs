//! Notices when what a pod's capture depends on changes: its addresses, interfaces, routes and rules.

use std::future::pending;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use rtnetlink::MulticastGroup;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout_at};
use weir_common::mark::TABLE;

use super::EnrollError;
use super::requests::{HEADER, Requests, attribute, was_overrun};
use crate::burst::Burst;
use crate::inside;
use crate::polled::polled;

/// What is read from the namespace to enrol a pod.
const REACH: [MulticastGroup; 3] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
];
/// What is written then.
const ROUTING: [MulticastGroup; 4] = [
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];
/// Longer messages are not read to their end: they say that something has changed, and what there is now is read from
/// the namespace itself. What tells fits.
const ENOUGH: usize = 512;
/// `struct rtmsg` and `struct fib_rule_hdr`.
const ROUTE: usize = 12;
/// A pod whose addresses never rest is not looked at more often than this.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);

/// A subscription to the changes of one netns: a socket with neither task nor buffer, as there is one per pod.
pub struct NetnsWatch {
    socket: Arc<Socket>,
    /// Once it is waited for: the runtime need not hear of what enrolment itself writes before.
    polled: Option<AsyncFd<Arc<Socket>>>,
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
        Self::start_by(netns, |_| Ok(())).map(|((), watch)| watch)
    }

    /// Subscribes around what `work` asks by the same socket: no change of what it reads, which is addresses and
    /// interfaces, falls in between. What it writes, routes and rules, is not told of.
    ///
    /// # Errors
    /// The same, and that of `work`.
    pub fn start_by<T: Send>(
        netns: BorrowedFd<'_>,
        work: impl FnOnce(&mut Requests) -> Result<T, EnrollError> + Send,
    ) -> Result<(T, Self), EnrollError> {
        inside::run(netns, || {
            let mut socket = Socket::new(NETLINK_ROUTE).map_err(EnrollError::NetlinkSocket)?;
            subscribe(&mut socket, groups(&REACH)).map_err(EnrollError::NetlinkSocket)?;
            let mut requests = Requests::by(socket);
            let done = work(&mut requests)?;
            let heard = requests.has_heard();
            let mut socket = requests.into_socket();
            subscribe(&mut socket, groups(&REACH) | groups(&ROUTING)).map_err(EnrollError::NetlinkSocket)?;
            let watch = Self {
                socket: Arc::new(socket),
                polled: None,
                last: None,
                noticed: heard.then(|| (Change::Reach, Burst::begin())),
            };
            Ok((done, watch))
        })?
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
            while let Ok(change) = received(&self.socket) {
                found = found.max(change);
            }
            if found != Change::Ours {
                return found;
            }
        }
    }

    async fn receive(&mut self) -> Change {
        match self.message().await {
            Ok(change) => change,
            Err(error) if was_overrun(&error) => Change::Reach,
            // The socket is of no use any more; the regular verification goes on looking.
            Err(_) => pending().await,
        }
    }

    async fn message(&mut self) -> io::Result<Change> {
        let polled = match &mut self.polled {
            Some(polled) => polled,
            unpolled => match received(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    unpolled.insert(polled(self.socket.clone(), Interest::READABLE)?)
                }
                received => return received,
            },
        };
        let receive = |socket: &Arc<Socket>| received(socket);
        polled.async_io(Interest::READABLE, receive).await
    }
}

/// What the next message says, if one is there. The buffer lives while it is looked, not while it is waited: that would
/// be one for each pod.
fn received(socket: &Socket) -> io::Result<Change> {
    let mut buffer = [0_u8; ENOUGH];
    let mut rest = buffer.as_mut_slice();
    socket.recv(&mut rest, libc::MSG_DONTWAIT)?;
    let read = ENOUGH - rest.len();
    Ok(change_of(buffer.get(..read).unwrap_or_default()))
}

/// There is a message for each rule and route that enrolment writes, so only what tells is looked for in it.
fn change_of(message: &[u8]) -> Change {
    let kind = message.get(4..6).and_then(|kind| kind.first_chunk().copied());
    match kind.map(u16::from_ne_bytes) {
        Some(libc::RTM_NEWROUTE | libc::RTM_NEWRULE) if is_ours(message) => Change::Ours,
        Some(libc::RTM_NEWROUTE | libc::RTM_DELROUTE | libc::RTM_NEWRULE | libc::RTM_DELRULE) => {
            Change::Routing
        }
        _ => Change::Reach,
    }
}

/// The kernel tells of a route that is replaced by the same, which enrolment does each time. Routes and rules have
/// headers of the same length, and say the table in the same way.
fn is_ours(message: &[u8]) -> bool {
    let attributes = message.get(HEADER + ROUTE..).unwrap_or_default();
    attribute(attributes, libc::RTA_TABLE) == Some(TABLE.to_ne_bytes().as_slice())
}

/// All of them are among those that fit into an address.
fn groups(groups: &[MulticastGroup]) -> u32 {
    groups.iter().fold(0, |all, group| all | 1 << (*group as u32 - 1))
}

/// Also a socket that has subscribed to others, which keeps its address.
fn subscribe(socket: &mut Socket, groups: u32) -> io::Result<()> {
    let mut address = SocketAddr::new(0, 0);
    socket.get_address(&mut address)?;
    socket.bind(&SocketAddr::new(address.port_number(), groups))
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
