//! The filters, and the reference decision that the kernel side must agree with.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// A set of ports that may be all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Every port.
    All,
    /// These only.
    Only(BTreeSet<u16>),
}

impl Ports {
    /// Whether `port` is one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Only(ports) => ports.contains(&port),
        }
    }
}

/// A set of destinations that may be all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Every address of both families.
    All,
    /// These only; a range of one family covers nothing of the other.
    Only(BTreeSet<IpNetwork>),
}

impl Ranges {
    /// Whether `address` is in one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Only(ranges) => covers(ranges, address),
        }
    }
}

fn covers(ranges: &BTreeSet<IpNetwork>, address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

/// Why a connection is not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exclusion {
    /// The pod takes no captured inbound connections at all.
    InboundBypassed,
    /// Its port is excluded.
    PortExcluded,
    /// Its port is not among the included ones.
    PortNotIncluded,
    /// Its destination is in an excluded range.
    RangeExcluded,
    /// Its destination is in no included range, and its port is not included either.
    RangeNotIncluded,
}

/// Which outbound connections are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundFilter {
    /// Never these ports.
    pub exclude_ports: BTreeSet<u16>,
    /// Never these destinations.
    pub exclude_ranges: BTreeSet<IpNetwork>,
    /// Otherwise always these ports,
    pub include_ports: Ports,
    /// and always these destinations.
    pub include_ranges: Ranges,
}

impl Default for OutboundFilter {
    fn default() -> Self {
        Self {
            exclude_ports: BTreeSet::new(),
            exclude_ranges: BTreeSet::new(),
            include_ports: Ports::Only(BTreeSet::new()),
            include_ranges: Ranges::All,
        }
    }
}

impl OutboundFilter {
    /// Why a connection to `address`, `port` is not captured; `None` if it is.
    /// An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) is the IPv4 address.
    #[must_use]
    pub fn exclusion(&self, address: IpAddr, port: u16) -> Option<Exclusion> {
        let address = address.to_canonical();
        if self.exclude_ports.contains(&port) {
            Some(Exclusion::PortExcluded)
        } else if covers(&self.exclude_ranges, address) {
            Some(Exclusion::RangeExcluded)
        } else if self.include_ports.contains(port) || self.include_ranges.contains(address) {
            None
        } else {
            Some(Exclusion::RangeNotIncluded)
        }
    }
}

/// Which inbound connections are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundFilter {
    /// Never these ports.
    pub exclude_ports: BTreeSet<u16>,
    /// Otherwise these.
    pub include_ports: Ports,
}

impl Default for InboundFilter {
    fn default() -> Self {
        Self {
            exclude_ports: BTreeSet::new(),
            include_ports: Ports::All,
        }
    }
}

impl InboundFilter {
    /// Why a connection to the pod's `port` is not captured; `None` if it is.
    #[must_use]
    pub fn exclusion(&self, port: u16) -> Option<Exclusion> {
        if self.exclude_ports.contains(&port) {
            Some(Exclusion::PortExcluded)
        } else if self.include_ports.contains(port) {
            None
        } else {
            Some(Exclusion::PortNotIncluded)
        }
    }
}
