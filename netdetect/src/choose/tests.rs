use super::{
    Caution, ChoiceConfig, Contract, MacvlanOutbound, Path, Plan, Remedy, Role, Why, Ztunnel, choose,
    passed_by,
};
use crate::facts::{
    Attached, Clash, DefaultRoutes, Direction, Family, FarEnd, Hook, Interface, IpvlanMode, KernelFacts,
    KernelVersion, Kind, MacvlanMode, NetkitMode, NetnsId, Owner, Place, PodFacts, Rule,
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

#[test]
fn with_ztunnel_in_the_pod_every_interface_takes_the_socket_path() {
    for (kind, place) in all_kinds() {
        let plan = plan(
            &with(kind.clone(), place),
            Contract::InPod,
            &ChoiceConfig::default(),
        );
        assert_eq!(
            (plan.outbound.path, plan.inbound.path),
            (Path::Socket, Path::Socket),
            "{kind}"
        );
        assert!(plan.captures_all(), "{kind}");
    }
}

#[test]
fn with_ztunnel_in_its_own_namespace_the_wiring_decides() {
    use Path::{NotCaptured, Socket, Steer, Tc, Unknown};
    let expected = [
        (Tc, Tc),
        (Socket, NotCaptured),
        (Unknown, Unknown),
        (Tc, Tc),
        (Tc, Tc),
        (Unknown, Unknown),
        (Socket, Steer),
        (Unknown, Unknown),
        (Socket, NotCaptured),
        (Socket, NotCaptured),
        (Socket, NotCaptured),
        (Socket, NotCaptured),
        (Unknown, Unknown),
        (Socket, NotCaptured),
        (Socket, NotCaptured),
        (Socket, NotCaptured),
        (Socket, NotCaptured),
        (Socket, NotCaptured),
        (Socket, NotCaptured),
        (Unknown, Unknown),
        (Unknown, Unknown),
    ];
    let kinds = all_kinds();
    assert_eq!(kinds.len(), expected.len());
    for ((kind, place), expected) in kinds.into_iter().zip(expected) {
        for config in [ChoiceConfig::default(), ztunnel(true, &[7])] {
            let plan = plan(&with(kind.clone(), place), Contract::Node, &config);
            assert_eq!(
                (plan.outbound.path, plan.inbound.path),
                expected,
                "{kind} {place:?}"
            );
            if !plan.inbound.path.captures() {
                assert!(plan.inbound.remedy.is_some(), "{kind}: what would make it work");
            }
        }
    }
}

#[test]
fn a_macvlan_pod_is_steered_if_ztunnel_is_on_its_parent() {
    let pod = with(macvlan(MacvlanMode::Bridge), Some(Place::Host));
    let steer = ChoiceConfig {
        macvlan_outbound: MacvlanOutbound::Steer,
        ..ztunnel(false, &[3, 7])
    };
    let steered = plan(&pod, Contract::Node, &steer);
    assert_eq!(
        (steered.outbound.path, steered.inbound.path),
        (Path::Steer, Path::Steer)
    );
    assert_eq!(steered.inbound.remedy, None);

    let apart = plan(&pod, Contract::Node, &ztunnel(true, &[3]));
    assert_eq!(
        (apart.outbound.path, apart.inbound.path),
        (Path::Socket, Path::NotCaptured)
    );
    assert_eq!(apart.inbound.why, Why::OtherParent);
    assert_eq!(apart.inbound.remedy, Some(Remedy::ZtunnelOnParent));

    let unknown = plan(&pod, Contract::Node, &ChoiceConfig::default());
    assert_eq!(unknown.inbound.path, Path::Steer);
    assert_eq!(
        unknown.inbound.remedy,
        Some(Remedy::ZtunnelOnParent),
        "it says where ztunnel has to be"
    );
}

#[test]
fn packets_are_not_handed_to_a_ztunnel_that_cannot_take_them() {
    let pod = with(Kind::Veth, Some(Place::Host));
    let plan = plan(&pod, Contract::Node, &ztunnel(false, &[7]));
    assert_eq!(plan.outbound.path, Path::NotCaptured);
    assert_eq!(plan.outbound.remedy, Some(Remedy::ZtunnelPeer));
}

#[test]
fn each_interface_has_its_plan_and_the_first_is_that_of_the_default_route() {
    let mut pod = pod(vec![
        interface(2, "net1", macvlan(MacvlanMode::Private), Some(Place::Host)),
        interface(3, "eth0", Kind::Veth, Some(Place::Host)),
        interface(4, "k6t-eth0", Kind::Bridge, None),
    ]);
    pod.default_routes.v4 = Some(3);
    let plan = plan(&pod, Contract::Node, &ChoiceConfig::default());
    assert_eq!(plan.primary, Some(3));
    assert_eq!(plan.outbound.path, Path::Tc);
    let names: Vec<_> = plan.interfaces.iter().map(|plan| plan.name.as_str()).collect();
    assert_eq!(names, ["net1", "eth0"]);
    let net1 = plan.interface("net1").unwrap();
    assert_eq!(net1.inbound.path, Path::NotCaptured);
    assert_eq!(
        (net1.outbound.path, &net1.outbound.why),
        (Path::NotCaptured, &Why::RedirectedElsewhere)
    );
    assert!(!plan.captures_all());
    assert_eq!(
        plan.cautions,
        [Caution::Divided {
            interface: "net1".to_owned()
        }]
    );
}

#[test]
fn beside_an_interface_that_is_redirected_a_macvlan_is_steered() {
    let pod = pod(vec![
        interface(2, "eth0", Kind::Veth, Some(Place::Host)),
        interface(3, "net1", macvlan(MacvlanMode::Bridge), Some(Place::Host)),
    ]);
    let net1 = |config| {
        let plan = plan(&pod, Contract::Node, &config);
        let net1 = plan.interface("net1").unwrap();
        (net1.outbound.path, net1.inbound.path)
    };
    assert_eq!(net1(ztunnel(true, &[7])), (Path::Steer, Path::Steer));
    assert_eq!(net1(ztunnel(true, &[])), (Path::NotCaptured, Path::NotCaptured));
    assert_eq!(
        net1(ztunnel(false, &[7])),
        (Path::Socket, Path::Steer),
        "eth0 is not redirected"
    );
}

#[test]
fn virtual_machines_are_captured_at_their_interface() {
    let config = ChoiceConfig {
        virtual_interfaces: vec!["k6t-eth0".to_owned()],
        ..ChoiceConfig::default()
    };
    let pod = pod(vec![
        interface(2, "eth0", Kind::Veth, Some(Place::Host)),
        interface(3, "k6t-eth0", Kind::Bridge, None),
    ]);
    let in_pod = plan(&pod, Contract::InPod, &config);
    let machines = in_pod.interface("k6t-eth0").unwrap();
    assert_eq!(machines.role, Role::Virtual);
    assert_eq!(
        (machines.outbound.path, machines.inbound.path),
        (Path::Tc, Path::NotApplicable)
    );
    assert_eq!(in_pod.cautions, []);
    assert!(
        plan(&pod, Contract::Node, &config)
            .interface("k6t-eth0")
            .is_none()
    );
}

#[test]
fn what_passes_all_sockets_is_not_captured() {
    let tap = Kind::Macvtap {
        mode: MacvlanMode::Bridge,
    };
    for contract in [Contract::InPod, Contract::Node] {
        let plan = plan(
            &with(tap.clone(), Some(Place::Host)),
            contract,
            &ChoiceConfig::default(),
        );
        assert_eq!(
            (plan.outbound.path, plan.inbound.path),
            (Path::NotCaptured, Path::NotCaptured)
        );
        assert_eq!(plan.outbound.why, Why::PastSockets);
    }
}

#[test]
fn a_pod_without_network_and_a_pod_on_the_node_s_have_no_path() {
    let mut lonely = pod(vec![interface(2, "dummy0", Kind::Dummy, None)]);
    for contract in [Contract::InPod, Contract::Node] {
        let plan = plan(&lonely, contract, &ChoiceConfig::default());
        assert_eq!(
            (plan.outbound.path, plan.outbound.why),
            (Path::NotCaptured, Why::NoNetwork)
        );
        assert_eq!(plan.primary, None);
    }
    lonely.is_host = true;
    let plan = plan(&lonely, Contract::InPod, &ChoiceConfig::default());
    assert_eq!(plan.outbound.why, Why::HostNetwork);
}

#[test]
fn an_old_kernel_has_no_path_and_the_plan_says_which_would() {
    let pod = with(Kind::Veth, Some(Place::Host));
    for (version, in_pod, node) in [
        (KernelVersion::new(5, 4), Path::NotCaptured, Path::NotCaptured),
        (KernelVersion::new(5, 10), Path::NotCaptured, Path::Tc),
        (KernelVersion::new(5, 15), Path::Socket, Path::Tc),
    ] {
        let kernel = KernelFacts::of_version(version);
        let config = ChoiceConfig::default();
        let plan = choose(&pod, Contract::InPod, &kernel, &config);
        assert_eq!(plan.outbound.path, in_pod, "{version}");
        if in_pod == Path::NotCaptured {
            let needs = KernelVersion::new(5, 15);
            assert_eq!(plan.outbound.remedy, Some(Remedy::NewerKernel { needs }));
        }
        assert_eq!(
            choose(&pod, Contract::Node, &kernel, &config).inbound.path,
            node,
            "{version}"
        );
    }
}

#[test]
fn what_may_get_in_the_way_is_said() {
    let mut pod = with(Kind::Veth, Some(Place::Host));
    pod.interfaces[0].ipv6_disabled = Some(true);
    pod.interfaces[1].addresses = vec!["10.0.0.1/32".parse().unwrap(), "fe80::1/64".parse().unwrap()];
    assert_eq!(
        plan(&pod, Contract::InPod, &ChoiceConfig::default()).cautions,
        [],
        "link-local does not count"
    );
    pod.interfaces[1].addresses.push("fd00::1/128".parse().unwrap());
    let rule = Rule {
        family: Family::V4,
        preference: 15,
        mark: None,
        mask: None,
        source: Some("10.0.0.1/32".parse().unwrap()),
        destination: None,
        interface: None,
        table: 100,
    };
    pod.rules.push(rule.clone());
    let plan = plan(&pod, Contract::InPod, &ChoiceConfig::default());
    let clash = Clash::Preference;
    assert_eq!(
        plan.cautions,
        [Caution::Rule { rule, clash }, Caution::LoopbackWithoutIpv6]
    );
}

#[test]
fn ztunnel_s_place_is_read_from_its_facts() {
    let mut second = interface(4, "net2", macvlan(MacvlanMode::Private), Some(Place::Host));
    second.far_end.as_mut().unwrap().index = 8;
    let facts = pod(vec![
        interface(2, "eth0", Kind::Veth, Some(Place::Host)),
        interface(3, "net1", macvlan(MacvlanMode::Bridge), Some(Place::Host)),
        second,
    ]);
    let expected = Ztunnel {
        has_host_peer: true,
        macvlan_parents: vec![7],
    };
    assert_eq!(Ztunnel::of(&facts), expected);
}

#[test]
fn programs_that_judge_what_a_pod_receives_are_told_of_where_it_is_redirected() {
    let pod = with(Kind::Veth, Some(Place::Host));
    let attached = |direction, interface, name: &str| Attached {
        interface,
        direction,
        hook: Hook::Tcx,
        order: 0,
        id: None,
        name: name.to_owned(),
        owner: Owner::of_name(name),
    };
    let programs = [
        attached(Direction::Egress, 7, "weir_pod_in"),
        attached(Direction::Ingress, 7, "cali_tc_from"),
        attached(Direction::Egress, 8, "cali_tc_other"),
        attached(Direction::Egress, 7, "cali_tc_to"),
    ];
    let told = |contract, config| {
        let plan = plan(&pod, contract, &config);
        passed_by(&plan, &pod, &programs)
    };
    assert_eq!(
        told(Contract::Node, ztunnel(true, &[])),
        [Caution::PassedBy {
            interface: "eth0".to_owned(),
            program: "cali_tc_to".to_owned(),
        }]
    );
    assert_eq!(told(Contract::InPod, ChoiceConfig::default()), []);
}

#[test]
fn what_ztunnel_answers_to_children_of_the_nodes_interface_needs_a_route() {
    let behind = |kind, contract, config| {
        let plan = plan(&with(kind, Some(Place::Host)), contract, &config);
        plan.cautions
            .iter()
            .any(|caution| matches!(caution, Caution::BehindParent { interface } if interface == "eth0"))
    };
    for mode in [MacvlanMode::Private, MacvlanMode::Vepa, MacvlanMode::Bridge] {
        assert!(
            behind(macvlan(mode), Contract::Node, ztunnel(true, &[])),
            "{mode:?}"
        );
        assert!(
            !behind(macvlan(mode), Contract::InPod, ChoiceConfig::default()),
            "{mode:?}"
        );
    }
    assert!(
        !behind(macvlan(MacvlanMode::Bridge), Contract::Node, ztunnel(false, &[7])),
        "beside it"
    );
    assert!(!behind(
        macvlan(MacvlanMode::Passthru),
        Contract::Node,
        ztunnel(true, &[])
    ));
    assert!(!behind(Kind::Veth, Contract::Node, ztunnel(true, &[])));
}

#[test]
fn programs_read_words_and_people_sentences() {
    let pod = with(macvlan(MacvlanMode::Private), Some(Place::Host));
    let plan = plan(&pod, Contract::Node, &ChoiceConfig::default());
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["inbound"]["path"], "not_captured");
    assert_eq!(json["inbound"]["reason"], "no_host_peer");
    assert_eq!(
        json["inbound"]["why"],
        "no interface of the node sees its packets (macvlan private)"
    );
    assert!(
        json["inbound"]["what_would_make_it_work"]
            .as_str()
            .unwrap()
            .starts_with("macvlan in bridge mode")
    );
}
