//! Every wiring, what it has to be recognised as, and the plan that follows: what the worlds are compared with, and
//! what `docs/cni.md` is made from.

use weir_netdetect::choose::Path;
use weir_netdetect::facts::{IpvlanMode, Kind, MacvlanMode, NetkitMode};
use weir_testbeds::world::Wiring;

/// One wiring.
pub struct Row {
    /// The world's word for it.
    pub wiring: Wiring,
    /// What it is, for people.
    pub what: &'static str,
    /// The kind of the pod's interface.
    pub kind: Kind,
    /// Where its far end is.
    pub far: Far,
    /// The path outbound, with the node contract.
    pub outbound: Path,
    /// The path inbound, with the node contract.
    pub inbound: Path,
}

/// The far end of a pod's interface.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Far {
    /// The peer that the world names.
    Peer,
    /// A child of this interface of the node.
    ChildOf(&'static str),
    /// An interface of a namespace that is not the node's.
    Elsewhere,
}

/// The row of a wiring.
pub fn row(wiring: Wiring) -> Row {
    let with = |what, kind, far, outbound, inbound| Row {
        wiring,
        what,
        kind,
        far,
        outbound,
        inbound,
    };
    let pair = |what| with(what, Kind::Veth, Far::Peer, Path::Tc, Path::Tc);
    let child = |what, kind, inbound| with(what, kind, Far::ChildOf("eth0"), Path::Socket, inbound);
    let macvlan = |what, mode, inbound| child(what, Kind::Macvlan { mode }, inbound);
    let ipvlan = |what, mode| child(what, Kind::Ipvlan { mode }, Path::NotCaptured);
    match wiring {
        Wiring::Bridge => pair("veth into a bridge (flannel, `bridge`)"),
        Wiring::PointToPoint => pair("veth with a host route and proxy ARP (Calico)"),
        Wiring::AzureTransparent => {
            pair("veth with a host route and a static neighbour (Azure CNI, transparent)")
        }
        Wiring::AzureBridge => pair("veth into a bridge with the uplink (Azure CNI, bridge mode)"),
        Wiring::AwsVpc => pair("veth with rules for each pod (AWS VPC CNI)"),
        Wiring::Gke => pair("veth whose node end is the gateway (GKE, kindnet, `ptp`)"),
        Wiring::MacvlanBridge => macvlan("macvlan, bridge mode", MacvlanMode::Bridge, Path::Steer),
        Wiring::MacvlanVepa => macvlan("macvlan, vepa mode", MacvlanMode::Vepa, Path::NotCaptured),
        Wiring::MacvlanPrivate => macvlan("macvlan, private mode", MacvlanMode::Private, Path::NotCaptured),
        Wiring::MacvlanPassthru => Row {
            // A link of its own for the first pod.
            far: Far::ChildOf("pf10"),
            ..macvlan("macvlan, passthru mode", MacvlanMode::Passthru, Path::NotCaptured)
        },
        Wiring::Device => with(
            "device of the fabric (SR-IOV, `host-device`)",
            Kind::Veth,
            Far::Elsewhere,
            Path::Socket,
            Path::NotCaptured,
        ),
        Wiring::IpvlanL2 => ipvlan("ipvlan, l2", IpvlanMode::L2),
        Wiring::IpvlanL3 => ipvlan("ipvlan, l3", IpvlanMode::L3),
        Wiring::IpvlanL3s => ipvlan("ipvlan, l3s", IpvlanMode::L3s),
        Wiring::Netkit => Row {
            kind: Kind::Netkit { mode: NetkitMode::L2 },
            ..pair("netkit with a host route (Cilium)")
        },
        Wiring::Vlan => child("VLAN of the uplink", Kind::Vlan { id: 10 }, Path::NotCaptured),
    }
}

/// All of them.
pub fn rows() -> impl Iterator<Item = Row> {
    Wiring::ALL.into_iter().chain(Wiring::WITH_MORE_DRIVERS).map(row)
}
