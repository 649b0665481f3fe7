//! The ways in which CNI plugins connect a pod to its node.

use ipnetwork::IpNetwork;
use netlink_packet_route::link::MacVlanMode;

use super::Error;
use super::addresses::{Addresses, BRIDGE, Family, LAN, POINT_TO_POINT, Subnet, on_link};
use super::host::{Host, UPLINK, ready};
use super::pod::Attachment;
use crate::link::Device;
use crate::netns::Netns;

mod bridge;
mod macvlan;
mod point_to_point;

/// How a pod's interface is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wiring {
    /// A veth into a bridge that is the pods' gateway, as flannel and the `bridge` plugin do.
    Bridge,
    /// A veth with a host route and proxy ARP, as Calico does.
    PointToPoint,
    /// A child of the node's uplink, on the LAN itself; the node cannot reach it.
    MacvlanBridge,
}

impl Wiring {
    /// Every wiring, for tests that try them all.
    pub const ALL: [Self; 3] = [Self::Bridge, Self::PointToPoint, Self::MacvlanBridge];

    /// Whether the node can reach such a pod, as kubelet must to probe it.
    pub fn reachable_from_node(self) -> bool {
        self != Self::MacvlanBridge
    }

    fn subnet(self) -> Subnet {
        match self {
            Self::Bridge => BRIDGE,
            Self::PointToPoint => POINT_TO_POINT,
            Self::MacvlanBridge => LAN,
        }
    }
}

/// An interface that is to be made.
pub(super) struct Request<'a> {
    pub(super) wiring: Wiring,
    pub(super) node: &'a Host,
    pub(super) remote: &'a Host,
    pub(super) pod: &'a Netns,
    pub(super) interface: &'a str,
    pub(super) number: u8,
    pub(super) family: Family,
    pub(super) mtu: Option<u32>,
}

impl Request<'_> {
    /// Makes the interface, with addresses, and routes if it is the pod's first.
    pub(super) fn attach(&self) -> Result<Attachment, Error> {
        let host_interface = match self.wiring {
            Wiring::Bridge => Some(bridge::attach(self)?),
            Wiring::PointToPoint => Some(point_to_point::attach(self)?),
            Wiring::MacvlanBridge => macvlan::attach(self).map(|()| None)?,
        };
        let made = ready(self.pod, self.interface, self.family)?;
        Ok(Attachment {
            wiring: self.wiring,
            interface: self.interface.to_owned(),
            host_interface,
            addresses: self.addresses(),
            mac: made.mac.ok_or_else(|| Error::NoMac(self.interface.to_owned()))?,
        })
    }

    fn addresses(&self) -> Addresses {
        self.wiring.subnet().addresses(self.number, self.family)
    }

    fn device(&self, name: &str) -> Device {
        let device = Device::named(name);
        self.mtu.map_or(device.clone(), |mtu| device.mtu(mtu))
    }

    // Multus gives the default route to the first interface only.
    fn is_primary(&self) -> bool {
        self.interface == UPLINK
    }
}
