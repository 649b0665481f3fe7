//! The ways in which CNI plugins connect a pod to its node.

use ipnetwork::IpNetwork;
use netlink_packet_route::link::{IpVlanMode, MacVlanMode};

use super::Error;
use super::addresses::{Addresses, BRIDGE, FABRIC, Family, LAN, POINT_TO_POINT, ROUTED, Subnet, on_link};
use super::host::{Host, UPLINK, ready};
use super::pod::Attachment;
use crate::link::Device;
use crate::mac::Mac;
use crate::netns::Netns;

mod aws;
mod azure;
mod bridge;
mod fabric;
mod gke;
mod ipvlan;
mod macvlan;
mod netkit;
mod point_to_point;
mod routed;

/// How a pod's interface is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wiring {
    /// A veth into a bridge that is the pods' gateway, as flannel and the `bridge` plugin do.
    Bridge,
    /// A veth with a host route and proxy ARP, as Calico does.
    PointToPoint,
    /// A veth with a host route, and a gateway whose Ethernet address the pod is told: Azure CNI, transparent.
    AzureTransparent,
    /// A veth into a bridge that has the node's uplink for a port: Azure CNI, bridge mode.
    AzureBridge,
    /// A veth with a host route, rules for each pod, and a gateway whose Ethernet address the pod is told: AWS VPC CNI.
    AwsVpc,
    /// A veth whose node end is the gateway, as GKE and the `ptp` plugin do.
    Gke,
    /// A child of the node's uplink, on the LAN itself; the node cannot reach it.
    MacvlanBridge,
    /// The same, for a switch that sends frames between children back, which there is none of.
    MacvlanVepa,
    /// The same, without a way between children.
    MacvlanPrivate,
    /// The only child of a link of its own to the remote host, whose Ethernet address it takes over.
    MacvlanPassthru,
    /// A device that leads to the fabric past the node, like a virtual function (SR-IOV).
    Device,
    /// A child of the node's uplink that shares its Ethernet address, on the LAN itself.
    IpvlanL2,
    /// The same, routed past the node's packet filters.
    IpvlanL3,
    /// The same, routed through the node's packet filters.
    IpvlanL3s,
    /// A netkit pair with a host route, as Cilium does.
    Netkit,
    /// A VLAN of the node's uplink.
    Vlan,
}

impl Wiring {
    /// Every wiring that any kernel can do, for tests that try them all.
    pub const ALL: [Self; 11] = [
        Self::Bridge,
        Self::PointToPoint,
        Self::AzureTransparent,
        Self::AzureBridge,
        Self::AwsVpc,
        Self::Gke,
        Self::MacvlanBridge,
        Self::MacvlanVepa,
        Self::MacvlanPrivate,
        Self::MacvlanPassthru,
        Self::Device,
    ];

    /// Wirings that take drivers not every kernel has; [`Error::is_unsupported`] tells.
    pub const WITH_MORE_DRIVERS: [Self; 5] = [
        Self::IpvlanL2,
        Self::IpvlanL3,
        Self::IpvlanL3s,
        Self::Netkit,
        Self::Vlan,
    ];

    /// Whether the node can reach such a pod, as kubelet must to probe it.
    pub fn reachable_from_node(self) -> bool {
        !matches!(
            self,
            Self::MacvlanBridge
                | Self::MacvlanVepa
                | Self::MacvlanPrivate
                | Self::IpvlanL2
                | Self::IpvlanL3
                | Self::IpvlanL3s
        )
    }

    /// Whether such pods reach each other.
    pub fn reaches_its_like(self) -> bool {
        !matches!(self, Self::MacvlanVepa | Self::MacvlanPrivate)
    }

    fn subnet(self) -> Subnet {
        match self {
            Self::Bridge => BRIDGE,
            Self::PointToPoint => POINT_TO_POINT,
            Self::AzureBridge
            | Self::MacvlanBridge
            | Self::MacvlanVepa
            | Self::MacvlanPrivate
            | Self::IpvlanL2 => LAN,
            Self::MacvlanPassthru | Self::Device | Self::Vlan => FABRIC,
            Self::AzureTransparent
            | Self::AwsVpc
            | Self::Gke
            | Self::IpvlanL3
            | Self::IpvlanL3s
            | Self::Netkit => ROUTED,
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
    pub(super) mac: Option<Mac>,
}

impl Request<'_> {
    /// Makes the interface, with addresses, and routes if it is the pod's first.
    pub(super) fn attach(&self) -> Result<Attachment, Error> {
        let host_interface = self.connect()?;
        let made = ready(self.pod, self.interface, self.family)?;
        Ok(Attachment {
            wiring: self.wiring,
            interface: self.interface.to_owned(),
            host_interface,
            addresses: self.addresses(),
            mac: made.mac.ok_or_else(|| Error::NoMac(self.interface.to_owned()))?,
        })
    }

    /// Connects the pod, and names the peer on the node if there is one.
    fn connect(&self) -> Result<Option<String>, Error> {
        let no_peer = |()| None;
        match self.wiring {
            Wiring::Bridge => bridge::attach(self).map(Some),
            Wiring::PointToPoint => point_to_point::attach(self).map(Some),
            Wiring::AzureTransparent => azure::attach_transparent(self).map(Some),
            Wiring::AzureBridge => azure::attach_bridge(self).map(Some),
            Wiring::AwsVpc => aws::attach(self).map(Some),
            Wiring::Gke => gke::attach(self).map(Some),
            Wiring::Netkit => netkit::attach(self).map(Some),
            Wiring::MacvlanBridge => macvlan::attach(self, MacVlanMode::Bridge).map(no_peer),
            Wiring::MacvlanVepa => macvlan::attach(self, MacVlanMode::Vepa).map(no_peer),
            Wiring::MacvlanPrivate => macvlan::attach(self, MacVlanMode::Private).map(no_peer),
            Wiring::MacvlanPassthru => fabric::attach_passthru(self).map(no_peer),
            Wiring::Device => fabric::attach_device(self).map(no_peer),
            Wiring::Vlan => fabric::attach_vlan(self).map(no_peer),
            Wiring::IpvlanL2 => ipvlan::attach_on_lan(self).map(no_peer),
            Wiring::IpvlanL3 => ipvlan::attach_routed(self, IpVlanMode::L3).map(no_peer),
            Wiring::IpvlanL3s => ipvlan::attach_routed(self, IpVlanMode::L3S).map(no_peer),
        }
    }

    fn addresses(&self) -> Addresses {
        self.wiring.subnet().addresses(self.number, self.family)
    }

    fn device(&self, name: &str) -> Device {
        let device = Device::named(name);
        self.mtu.map_or(device.clone(), |mtu| device.mtu(mtu))
    }

    /// The pod's own interface.
    fn own_device(&self) -> Device {
        let device = self.device(self.interface);
        self.mac.map_or(device.clone(), |mac| device.mac(mac))
    }

    // Multus gives the default route to the first interface only.
    fn is_primary(&self) -> bool {
        self.interface == UPLINK
    }
}
