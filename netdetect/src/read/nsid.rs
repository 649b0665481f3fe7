//! The numbers by which the kernel calls other namespaces in this one.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use futures::StreamExt as _;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};

use super::{Known, ReadError};
use crate::facts::{NetnsId, Place};

/// Which number stands for which known namespace.
pub(super) struct Numbers {
    known: Vec<(i32, Place)>,
    is_host: bool,
}

impl Numbers {
    /// Asks for the numbers of the known namespaces, in the one that is `own`.
    pub(super) async fn read(handle: &Handle, own: NetnsId, known: &Known<'_>) -> Result<Self, ReadError> {
        let host = NetnsId::of(known.host).map_err(ReadError::Identify)?;
        let mut numbers = Self {
            known: Vec::new(),
            is_host: own == host,
        };
        for netns in std::iter::once(known.host).chain(known.others.iter().copied()) {
            let id = NetnsId::of(netns).map_err(ReadError::Identify)?;
            let place = if id == host {
                Place::Host
            } else {
                Place::Known { id }
            };
            if let Some(number) = number(handle, netns).await? {
                numbers.known.push((number, place));
            }
        }
        Ok(numbers)
    }

    pub(super) const fn is_host(&self) -> bool {
        self.is_host
    }

    /// The namespace that a number stands for, if it is known; what is beside an interface of the node is the node's.
    pub(super) fn resolve(&self, place: Place) -> Place {
        let Place::Elsewhere { nsid } = place else {
            return place;
        };
        let known = self.known.iter().find(|(number, _)| *number == nsid);
        known.map_or(place, |(_, place)| *place)
    }
}

/// The number of a namespace; nothing if it has none, because nothing here leads there.
async fn number(handle: &Handle, netns: BorrowedFd<'_>) -> Result<Option<i32>, ReadError> {
    let mut question = NsidMessage::default();
    question
        .attributes
        .push(NsidAttribute::Fd(netns.as_raw_fd().unsigned_abs()));
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(question));
    message.header.flags = NLM_F_REQUEST;
    let mut answers = handle
        .clone()
        .request(message)
        .map_err(ReadError::netlink("ask for the number of a namespace"))?;
    while let Some(answer) = answers.next().await {
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(answer)) => {
                return Ok(answer.attributes.iter().find_map(assigned));
            }
            NetlinkPayload::Error(error) if error.code.is_some() => {
                return Err(ReadError::Netlink {
                    step: "ask for the number of a namespace",
                    source: error.to_io(),
                });
            }
            _ => {}
        }
    }
    Ok(None)
}

/// A negative number says that none is assigned.
fn assigned(attribute: &NsidAttribute) -> Option<i32> {
    match attribute {
        NsidAttribute::Id(number) if *number >= 0 => Some(*number),
        _ => None,
    }
}
