//! The addresses of a pod: all that its netns holds, on whatever interface.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use weir_common::address::Address;
use weir_common::pod::Shown;

use super::EnrollError;
use super::requests::Requests;
use super::routing::LOOPBACK_INDEX;

/// A pod's addresses; the first of each family is the one that outbound connections come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Every address but loopback's.
    pub own: BTreeSet<IpAddr>,
    /// The first global IPv4 address that may be used.
    pub first_v4: Option<std::net::Ipv4Addr>,
    /// The first global IPv6 address that may be used.
    pub first_v6: Option<std::net::Ipv6Addr>,
}

/// Reads the addresses of the namespace that `requests` belong to.
///
/// # Errors
/// [`EnrollError::Refused`].
pub fn read(requests: &mut Requests) -> Result<Addresses, EnrollError> {
    let messages = requests.addresses()?;
    let mut found = Addresses::default();
    // Service addresses on loopback are listed first, but connections come from an interface's if there is one.
    for loopback_counts in [false, true] {
        messages
            .iter()
            .for_each(|message| found.take(message, loopback_counts));
    }
    Ok(found)
}

impl Addresses {
    /// As they are shown to programs.
    #[must_use]
    pub fn shown(&self) -> Shown {
        Shown::of(self.own.iter().copied().map(Address::from))
    }

    fn take(&mut self, message: &AddressMessage, loopback_counts: bool) {
        let Some(address) = address_of(message).filter(|address| !address.is_loopback()) else {
            return;
        };
        self.own.insert(address);
        let on_loopback = message.header.index == LOOPBACK_INDEX;
        let is_global = message.header.scope == AddressScope::Universe;
        if !is_global || (on_loopback && !loopback_counts) || is_tentative(message) {
            return;
        }
        match address {
            IpAddr::V4(v4) => _ = self.first_v4.get_or_insert(v4),
            IpAddr::V6(v6) => _ = self.first_v6.get_or_insert(v6),
        }
    }
}

/// Whether somebody else may have the address, as far as the kernel knows: nothing comes from it then, and no route may
/// name it as a source.
fn is_tentative(message: &AddressMessage) -> bool {
    let flags = message.header.flags;
    flags.contains(AddressHeaderFlags::Tentative) && !flags.contains(AddressHeaderFlags::Optimistic)
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
