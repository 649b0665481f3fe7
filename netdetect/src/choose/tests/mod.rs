//! Facts as they could be read, and what is chosen for them.

mod cautions;
mod paths;

use crate::choose::{ChoiceConfig, Contract, Plan, Ztunnel, choose};
use crate::facts::{
    DefaultRoutes, FarEnd, Interface, IpvlanMode, KernelFacts, KernelVersion, Kind, MacvlanMode, NetkitMode,
    NetnsId, Place, PodFacts,
};

const KERNEL: KernelVersion = KernelVersion::new(6, 12);
const ELSEWHERE: Place = Place::Elsewhere { nsid: 3 };

fn interface(index: u32, name: &str, kind: Kind, place: Option<Place>) -> Interface {
    Interface {
        index,
        name: name.to_owned(),
        kind,
        mac: None,
        mtu: 1500,
        up: true,
        addresses: Vec::new(),
        controller: None,
        far_end: place.map(|place| FarEnd {
            index: 7,
            place,
            name: None,
        }),
        ipv6_disabled: Some(false),
        xdp: Vec::new(),
    }
}

fn pod(interfaces: Vec<Interface>) -> PodFacts {
    let loopback = interface(1, "lo", Kind::Loopback, None);
    PodFacts {
        netns: NetnsId { inode: 1, device: 4 },
        is_host: false,
        interfaces: std::iter::once(loopback).chain(interfaces).collect(),
        routes: Vec::new(),
        default_routes: DefaultRoutes::default(),
        rules: Vec::new(),
    }
}

fn with(kind: Kind, place: Option<Place>) -> PodFacts {
    pod(vec![interface(2, "eth0", kind, place)])
}

fn plan(pod: &PodFacts, contract: Contract, config: &ChoiceConfig) -> Plan {
    choose(pod, contract, &KernelFacts::of_version(KERNEL), config)
}

fn ztunnel(has_host_peer: bool, macvlan_parents: &[u32]) -> ChoiceConfig {
    ChoiceConfig {
        ztunnel: Some(Ztunnel {
            has_host_peer,
            macvlan_parents: macvlan_parents.to_vec(),
        }),
        ..ChoiceConfig::default()
    }
}

fn macvlan(mode: MacvlanMode) -> Kind {
    Kind::Macvlan { mode }
}

fn all_kinds() -> Vec<(Kind, Option<Place>)> {
    let other = |name: &str| name.to_owned();
    vec![
        (Kind::Veth, Some(Place::Host)),
        (Kind::Veth, Some(ELSEWHERE)),
        (Kind::Veth, None),
        (Kind::Netkit { mode: NetkitMode::L2 }, Some(Place::Host)),
        (Kind::Netkit { mode: NetkitMode::L3 }, Some(Place::Host)),
        (
            Kind::Netkit {
                mode: NetkitMode::Unknown,
            },
            Some(Place::Host),
        ),
        (macvlan(MacvlanMode::Bridge), Some(Place::Host)),
        (macvlan(MacvlanMode::Bridge), Some(ELSEWHERE)),
        (macvlan(MacvlanMode::Vepa), Some(Place::Host)),
        (macvlan(MacvlanMode::Private), Some(Place::Host)),
        (macvlan(MacvlanMode::Passthru), Some(Place::Host)),
        (macvlan(MacvlanMode::Source), Some(Place::Host)),
        (macvlan(MacvlanMode::Unknown), Some(Place::Host)),
        (Kind::Ipvlan { mode: IpvlanMode::L2 }, Some(Place::Host)),
        (Kind::Ipvlan { mode: IpvlanMode::L3 }, Some(Place::Host)),
        (
            Kind::Ipvlan {
                mode: IpvlanMode::L3s,
            },
            Some(Place::Host),
        ),
        (Kind::Vlan { id: 5 }, Some(Place::Host)),
        (Kind::Vlan { id: 5 }, Some(Place::Same)),
        (
            Kind::Physical {
                bus: None,
                device: None,
            },
            None,
        ),
        (
            Kind::Tunnel {
                name: other("wireguard"),
            },
            None,
        ),
        (
            Kind::Other {
                name: other("nonesuch"),
            },
            None,
        ),
    ]
}
