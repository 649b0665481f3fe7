//! Connections of pods that have no host side, turned to ztunnel's address (node contract).

use crate::address::Address;
use crate::{ports, shared};

/// Value of the map of detours, keyed by netns cookie: where the pod reaches ztunnel. An unspecified address is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detour {
    /// ztunnel's IPv4 address, mapped.
    pub v4: Address,
    /// ztunnel's IPv6 address.
    pub v6: Address,
}
shared!(Detour);

impl Detour {
    /// ztunnel's address of the family of `address`, if it has one.
    #[must_use]
    #[inline(always)]
    pub const fn like(&self, address: Address) -> Option<Address> {
        let ztunnel = if address.as_v4().is_some() {
            self.v4
        } else {
            self.v6
        };
        if ztunnel.is_unspecified() {
            None
        } else {
            Some(ztunnel)
        }
    }

    /// Whether there is no ztunnel.
    #[must_use]
    #[inline(always)]
    pub const fn leads_nowhere(&self) -> bool {
        self.v4.is_unspecified() && self.v6.is_unspecified()
    }

    /// Whether a connection to `address` and `port` is one that was turned to ztunnel.
    #[must_use]
    #[inline(always)]
    pub fn leads_to(&self, address: Address, port: u16) -> bool {
        port == ports::OUTBOUND && self.like(address) == Some(address)
    }
}

impl Default for Detour {
    fn default() -> Self {
        Self {
            v4: Address::from_v4(0),
            v6: Address::default(),
        }
    }
}

/// Key of the map of original destinations: the client's end of a connection, as ztunnel sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientEnd {
    /// The pod's address.
    pub address: Address,
    /// The port, in host byte order.
    pub port: u32,
}
shared!(ClientEnd);

/// Where a connection was going before it was turned to ztunnel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// The address.
    pub address: Address,
    /// The port, in host byte order.
    pub port: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
    /// Cookie of the application's socket.
    pub socket: u64,
}
shared!(Original);

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::{Address, Detour};

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_detour_leads_to_ztunnels_address_of_the_same_family() {
        let both = Detour {
            v4: address("10.0.0.5"),
            v6: address("fd00::5"),
        };
        assert_eq!(both.like(address("192.0.2.1")), Some(address("10.0.0.5")));
        assert_eq!(both.like(address("2001:db8::1")), Some(address("fd00::5")));
        assert!(both.leads_to(address("fd00::5"), 15001));
        assert!(!both.leads_to(address("fd00::5"), 15008));
        assert!(!both.leads_to(address("fd00::6"), 15001));
        let none = Detour::default();
        for to in ["192.0.2.1", "2001:db8::1", "0.0.0.0", "::"] {
            assert_eq!(none.like(address(to)), None, "{to}");
            assert!(!none.leads_to(address(to), 15001), "{to}");
        }
    }
}
