//! The qdisc that filters are put at: `clsact`, which has them for packets in both directions.

use std::io;

use aya::programs::TcAttachType;
use aya::programs::tc::{TcError, qdisc_add_clsact};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_ECHO, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

/// An interface takes no filters, or none for packets in this direction.
#[derive(Debug, thiserror::Error)]
pub(super) enum QdiscError {
    /// The kernel refused.
    #[error(transparent)]
    Refused(#[from] TcError),
    /// What is there cannot be read.
    #[error("reading its qdisc: {0}")]
    Unread(#[from] io::Error),
    /// The kernel's answer cannot be read.
    #[error("reading its qdisc: {0}")]
    Garbled(#[from] DecodeError),
    /// A qdisc of somebody else's, which would run a filter for leaving packets on arriving ones instead.
    #[error(
        "its qdisc `ingress` has no place for programs that see what leaves; \
         with `clsact` in its stead there is one, and Linux 6.6 or newer needs neither"
    )]
    NoEgress,
}

/// Makes the interface take filters for packets in this direction.
pub(super) fn ensure(interface: &str, direction: TcAttachType) -> Result<(), QdiscError> {
    match qdisc_add_clsact(interface) {
        Err(error) if !is_there(&error) => Err(error.into()),
        // Both are at the same place, and the kernel says no more than that it is taken.
        Err(_) if direction == TcAttachType::Egress && kind(interface)? != "clsact" => {
            Err(QdiscError::NoEgress)
        }
        _ => Ok(()),
    }
}

fn is_there(error: &TcError) -> bool {
    match error {
        TcError::AlreadyAttached => true,
        TcError::NetlinkError(error) => error.raw_os_error() == Some(libc::EEXIST),
        _ => false,
    }
}

/// The kind of the qdisc that is where `clsact` would be.
fn kind(interface: &str) -> Result<String, QdiscError> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&question(interface)?, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::deserialize(&answer)?.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewQueueDiscipline(qdisc)) => Ok(kind_of(qdisc)),
        NetlinkPayload::Error(error) => Err(error.to_io().into()),
        _ => Ok(String::new()),
    }
}

/// Only who asks for an echo is told; and whatever there is to tell, the request is acknowledged.
fn question(interface: &str) -> io::Result<Vec<u8>> {
    let index = if_nametoindex(interface)?;
    let mut qdisc = TcMessage::with_index(i32::try_from(index).map_err(io::Error::other)?);
    qdisc.header.parent = TcHandle::CLSACT;
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetQueueDiscipline(qdisc));
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    Ok(bytes)
}

fn kind_of(qdisc: TcMessage) -> String {
    let mut attributes = qdisc.attributes.into_iter();
    let kind = attributes.find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind),
        _ => None,
    });
    kind.unwrap_or_default()
}
