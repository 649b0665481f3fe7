//! Filters of somebody else's where ours would be: at each priority the kernel keeps filters of one kind, for one protocol.

use std::io;

use aya::programs::TcAttachType;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

const OUR_KIND: &str = "bpf";
/// `ETH_P_ALL`, as filters have it.
const ALL_PROTOCOLS: u16 = 3u16.to_be();

/// A filter beside which ours cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a filter `{kind}` (protocol {protocol:#06x}) has priority {priority} there, which ours needs to come first, and the \
     kernel takes no others beside it; give that one a later priority (tc filter … pref {}), and Linux 6.6 or newer \
     needs none", priority + 1
)]
pub(super) struct Occupied {
    kind: String,
    protocol: u16,
    priority: u16,
}

/// The one that is in our way at this priority, if one is there and can be read.
pub(super) fn find(interface: &str, direction: TcAttachType, priority: u16) -> Option<Occupied> {
    let filters = filters(interface, direction).ok()?;
    filters.iter().find_map(|filter| in_the_way(filter, priority))
}

fn in_the_way(filter: &TcMessage, priority: u16) -> Option<Occupied> {
    let [order, protocol] = [filter.header.info >> 16, filter.header.info & 0xffff].map(u16::try_from);
    let (order, protocol) = (order.ok()?, protocol.ok()?);
    let kind = filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.clone()),
        _ => None,
    })?;
    let fits = kind == OUR_KIND && protocol == ALL_PROTOCOLS;
    (order == priority && !fits).then_some(Occupied {
        kind,
        protocol: u16::from_be(protocol),
        priority,
    })
}

fn filters(interface: &str, direction: TcAttachType) -> io::Result<Vec<TcMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&question(interface, direction)?, 0)?;
    let mut found = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        if !read(&answer, &mut found)? {
            return Ok(found);
        }
    }
}

fn question(interface: &str, direction: TcAttachType) -> io::Result<Vec<u8>> {
    let index = if_nametoindex(interface)?;
    let mut filter = TcMessage::with_index(i32::try_from(index).map_err(io::Error::other)?);
    filter.header.parent = TcHandle {
        major: TcHandle::CLSACT.major,
        minor: match direction {
            TcAttachType::Egress => TcHandle::MIN_EGRESS,
            _ => TcHandle::MIN_INGRESS,
        },
    };
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetTrafficFilter(filter));
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    Ok(bytes)
}

/// Says whether more is to come.
fn read(mut answer: &[u8], found: &mut Vec<TcMessage>) -> io::Result<bool> {
    while !answer.is_empty() {
        let message = NetlinkMessage::deserialize(answer).map_err(io::Error::other)?;
        match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewTrafficFilter(filter)) => found.push(filter),
            NetlinkPayload::Done(_) => return Ok(false),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
        let length = (message.header.length as usize).next_multiple_of(4);
        answer = answer.get(length.max(4)..).unwrap_or_default();
    }
    Ok(true)
}
