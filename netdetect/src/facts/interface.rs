//! Interfaces.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::{Kind, Mac, Place};

/// An interface as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its Ethernet address; loopback and tunnels have none.
    pub mac: Option<Mac>,
    /// Its MTU.
    pub mtu: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// Its addresses, in the kernel's order, IPv4 first.
    pub addresses: Vec<IpNetwork>,
    /// Index of the bridge or bond that it is a port of.
    pub controller: Option<u32>,
    /// The peer of a pair, the parent of a child; nothing for what stands alone.
    pub far_end: Option<FarEnd>,
    /// Whether IPv6 is switched off at it; nothing where the kernel has no IPv6.
    pub ipv6_disabled: Option<bool>,
    /// Ids of XDP programs at it.
    pub xdp: Vec<u32>,
}

/// The peer of a pair or the parent of a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarEnd {
    /// Its index in its own namespace.
    pub index: u32,
    /// Which namespace that is.
    #[serde(flatten)]
    pub place: Place,
    /// Its name, if somebody has looked there.
    pub name: Option<String>,
}

impl Interface {
    /// Index of the interface in the node's namespace that is this one's peer: where everything that the pod sends
    /// arrives, and from where everything is sent to it. Parents are none.
    #[must_use]
    pub fn host_peer(&self) -> Option<u32> {
        match (&self.kind, &self.far_end) {
            (
                Kind::Veth | Kind::Netkit { .. },
                Some(FarEnd {
                    index,
                    place: Place::Host,
                    ..
                }),
            ) => Some(*index),
            _ => None,
        }
    }

    /// Index of the interface in the node's namespace that this one is a child of.
    #[must_use]
    pub fn host_parent(&self) -> Option<u32> {
        match (&self.kind, &self.far_end) {
            (
                Kind::Macvlan { .. } | Kind::Macvtap { .. } | Kind::Ipvlan { .. } | Kind::Vlan { .. },
                Some(FarEnd {
                    index,
                    place: Place::Host,
                    ..
                }),
            ) => Some(*index),
            _ => None,
        }
    }

    /// Whether the pod reaches anything beyond itself by it: not loopback, and not what joins, or is joined to,
    /// interfaces of the same namespace.
    #[must_use]
    pub fn leads_out(&self) -> bool {
        match self.kind {
            Kind::Loopback | Kind::Bridge | Kind::Tun | Kind::Dummy | Kind::Bond => false,
            Kind::Veth | Kind::Netkit { .. } => {
                self.far_end.as_ref().is_none_or(|end| end.place != Place::Same)
            }
            Kind::Macvlan { .. } | Kind::Macvtap { .. } | Kind::Ipvlan { .. } | Kind::Vlan { .. } => true,
            Kind::Tunnel { .. } | Kind::Physical { .. } | Kind::Other { .. } => true,
        }
    }

    /// The parent's index if that is in the same namespace, as with a VLAN of a pod's own interface.
    #[must_use]
    pub fn parent_beside(&self) -> Option<u32> {
        match (&self.kind, &self.far_end) {
            (
                Kind::Macvlan { .. } | Kind::Macvtap { .. } | Kind::Ipvlan { .. } | Kind::Vlan { .. },
                Some(FarEnd {
                    index,
                    place: Place::Same,
                    ..
                }),
            ) => Some(*index),
            _ => None,
        }
    }
}
