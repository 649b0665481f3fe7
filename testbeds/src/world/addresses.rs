//! Which addresses a world's hosts and pods have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::Serialize;

/// The IP families of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Dual,
}

impl Family {
    /// Every choice, for tests that try them all.
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Dual];
}

/// The addresses of one interface, at most one per family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// All of them, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// The one of the same family as another address.
    pub fn like(&self, other: IpAddr) -> Option<IpAddr> {
        self.iter().find(|address| address.is_ipv4() == other.is_ipv4())
    }

    /// The only or the first one.
    pub fn first(&self) -> Option<IpAddr> {
        self.iter().next()
    }
}

/// A /24 and a /64 that hosts and pods are numbered in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subnet {
    v4: [u8; 3],
    v6: [u16; 4],
}

/// Where the node, the remote host and macvlan pods are.
pub(crate) const LAN: Subnet = Subnet {
    v4: [192, 168, 100],
    v6: [0xfd00, 0x100, 0, 0],
};
/// Where pods on the bridge are.
pub(crate) const BRIDGE: Subnet = Subnet {
    v4: [10, 244, 0],
    v6: [0xfd00, 0x244, 0, 0],
};
/// Where point-to-point pods are.
pub(crate) const POINT_TO_POINT: Subnet = Subnet {
    v4: [10, 245, 0],
    v6: [0xfd00, 0x245, 0, 0],
};

/// Where other pods are that have a route of their own on the node.
pub(crate) const ROUTED: Subnet = Subnet {
    v4: [10, 246, 0],
    v6: [0xfd00, 0x246, 0, 0],
};
/// Where pods are that reach the remote host past the node.
pub(crate) const FABRIC: Subnet = Subnet {
    v4: [10, 247, 0],
    v6: [0xfd00, 0x247, 0, 0],
};

impl Subnet {
    /// The addresses with this number.
    pub(crate) fn addresses(self, number: u8, family: Family) -> Addresses {
        let [a, b, c] = self.v4;
        let [d, e, f, g] = self.v6;
        let v4 = Ipv4Addr::new(a, b, c, number);
        let v6 = Ipv6Addr::new(d, e, f, g, 0, 0, 0, u16::from(number));
        Addresses {
            v4: (family != Family::V6).then_some(v4),
            v6: (family != Family::V4).then_some(v6),
        }
    }

    /// The networks as routes name them.
    pub(crate) fn networks(self, family: Family) -> impl Iterator<Item = IpNetwork> {
        self.addresses(0, family).iter().map(on_link)
    }
}

/// An address with the prefix length of its subnet.
#[expect(
    clippy::expect_used,
    reason = "24 and 64 are prefix lengths of their families"
)]
pub(crate) fn on_link(address: IpAddr) -> IpNetwork {
    let length = if address.is_ipv4() { 24 } else { 64 };
    IpNetwork::new(address, length).expect("a valid prefix length")
}
