//! The addresses of a pod: all that its netns holds, on whatever interface.

use std::collections::BTreeSet;
use std::net::IpAddr;

use weir_common::address::Address;
use weir_common::pod::Shown;

use super::EnrollError;
use super::requests::{Requests, attribute, number, number_of};
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

/// `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;

/// An address on an interface.
struct Held {
    address: IpAddr,
    interface: u32,
    is_global: bool,
    /// Whether somebody else may have the address, as far as the kernel knows: nothing comes from it then, and no route
    /// may name it as a source.
    is_tentative: bool,
}

impl Held {
    /// `struct ifaddrmsg`, and its attributes.
    fn read(message: &[u8]) -> Option<Self> {
        let &[family, _, short_flags, scope] = message.first_chunk()?;
        let attributes = message.get(IFADDRMSG..)?;
        // On point-to-point links `IFA_ADDRESS` is the peer's; `IFA_LOCAL` is ours wherever it is given.
        let own =
            attribute(attributes, libc::IFA_LOCAL).or_else(|| attribute(attributes, libc::IFA_ADDRESS))?;
        let address = match i32::from(family) {
            libc::AF_INET => IpAddr::from(*own.first_chunk::<4>()?),
            libc::AF_INET6 => IpAddr::from(*own.first_chunk::<16>()?),
            _ => return None,
        };
        let flags = number_of(attributes, libc::IFA_FLAGS).unwrap_or(short_flags.into());
        Some(Self {
            address,
            interface: number(message, 4)?,
            is_global: scope == libc::RT_SCOPE_UNIVERSE,
            is_tentative: flags & libc::IFA_F_TENTATIVE != 0 && flags & libc::IFA_F_OPTIMISTIC == 0,
        })
    }
}

/// Reads the addresses of the namespace that `requests` belong to.
///
/// # Errors
/// [`EnrollError::Refused`].
pub fn read(requests: &mut Requests) -> Result<Addresses, EnrollError> {
    let all = requests.addresses(Held::read)?;
    let mut found = Addresses::default();
    // Service addresses on loopback are listed first, but connections come from an interface's if there is one.
    for loopback_counts in [false, true] {
        all.iter().for_each(|held| found.take(held, loopback_counts));
    }
    Ok(found)
}

impl Addresses {
    /// As they are shown to programs.
    #[must_use]
    pub fn shown(&self) -> Shown {
        Shown::of(self.own.iter().copied().map(Address::from))
    }

    fn take(&mut self, held: &Held, loopback_counts: bool) {
        if held.address.is_loopback() {
            return;
        }
        self.own.insert(held.address);
        let on_loopback = held.interface == LOOPBACK_INDEX;
        if !held.is_global || (on_loopback && !loopback_counts) || held.is_tentative {
            return;
        }
        match held.address {
            IpAddr::V4(v4) => _ = self.first_v4.get_or_insert(v4),
            IpAddr::V6(v6) => _ = self.first_v6.get_or_insert(v6),
        }
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};

    use rtnetlink::packet_core::Emitable as _;

    use super::{Addresses, Held, LOOPBACK_INDEX};

    /// As the kernel would say it.
    fn said(
        index: u32,
        scope: AddressScope,
        flags: AddressHeaderFlags,
        attributes: Vec<AddressAttribute>,
    ) -> Held {
        let mut message = AddressMessage::default();
        message.header.family = match attributes[0] {
            AddressAttribute::Address(address) | AddressAttribute::Local(address) if address.is_ipv6() => {
                AddressFamily::Inet6
            }
            _ => AddressFamily::Inet,
        };
        message.header.index = index;
        message.header.scope = scope;
        message.header.flags = flags;
        message.attributes = attributes;
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        Held::read(&bytes).unwrap()
    }

    fn address(text: &str) -> AddressAttribute {
        AddressAttribute::Address(text.parse().unwrap())
    }

    #[test]
    fn an_address_that_may_not_be_used_yet_is_the_pods_but_nothing_comes_from_it() {
        let (global, none) = (AddressScope::Universe, AddressHeaderFlags::empty());
        let tentative = AddressHeaderFlags::Tentative;
        let mut found = Addresses::default();
        let local = AddressAttribute::Local("10.0.0.1".parse().unwrap());
        for held in [
            said(2, global, none, vec![address("10.0.0.2"), local]),
            said(2, global, tentative, vec![address("fd00::1")]),
            said(
                2,
                global,
                tentative | AddressHeaderFlags::Optimistic,
                vec![address("fd00::2")],
            ),
            said(2, AddressScope::Link, none, vec![address("fe80::1")]),
            said(
                LOOPBACK_INDEX,
                AddressScope::Host,
                none,
                vec![address("127.0.0.1")],
            ),
        ] {
            found.take(&held, false);
        }
        let own: Vec<_> = found.own.iter().map(ToString::to_string).collect();
        assert_eq!(
            own,
            ["10.0.0.1", "fd00::1", "fd00::2", "fe80::1"],
            "not the peer's"
        );
        assert_eq!(found.first_v4, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(found.first_v6, Some("fd00::2".parse().unwrap()));
    }

    #[test]
    fn what_is_no_address_is_none() {
        assert!(Held::read(&[]).is_none());
        assert!(Held::read(&[2, 24, 0, 0, 2, 0, 0, 0]).is_none(), "without one");
        assert!(
            Held::read(&[7, 24, 0, 0, 2, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 1]).is_none(),
            "of neither family"
        );
    }
}
