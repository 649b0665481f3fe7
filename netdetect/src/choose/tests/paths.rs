//! Which path is chosen, why, and what would help.

use super::{all_kinds, interface, macvlan, plan, pod, with, ztunnel};
use crate::choose::{
    Caution, ChoiceConfig, Contract, MacvlanOutbound, Path, Remedy, Role, Why, Ztunnel, choose,
};
use crate::facts::{KernelFacts, KernelVersion, Kind, MacvlanMode, Place};

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
        (KernelVersion::new(5, 10), Path::NotCaptured, Path::NotCaptured),
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
