//! The addresses of a pod: all that its netns holds, on whatever interface.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures::TryStreamExt as _;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::Handle;

use super::EnrollError;

/// A pod's addresses; the first of each family is the one that outbound connections come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Every address but loopback's, and the index of the interface that has it.
    pub own: BTreeMap<IpAddr, u32>,
    /// The first global IPv4 address.
    pub first_v4: Option<std::net::Ipv4Addr>,
    /// The first global IPv6 address.
    pub first_v6: Option<std::net::Ipv6Addr>,
}

/// Reads the addresses of the namespace that `handle` belongs to.
///
/// # Errors
/// [`EnrollError::Netlink`].
pub async fn read(handle: &Handle) -> Result<Addresses, EnrollError> {
    let mut found = Addresses::default();
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages
        .try_next()
        .await
        .map_err(EnrollError::netlink("list addresses"))?
    {
        found.take(&message);
    }
    Ok(found)
}

impl Addresses {
    fn take(&mut self, message: &AddressMessage) {
        let Some(address) = address_of(message).filter(|address| !address.is_loopback()) else {
            return;
        };
        self.own.insert(address, message.header.index);
        if message.header.scope != AddressScope::Universe {
            return;
        }
        match address {
            IpAddr::V4(v4) => _ = self.first_v4.get_or_insert(v4),
            IpAddr::V6(v6) => _ = self.first_v6.get_or_insert(v6),
        }
    }
}

/// On point-to-point links the attribute `Address` is the peer's; `Local` is ours wherever it is given.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}
