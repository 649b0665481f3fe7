//! Pods and nodes that are unlike the others.

use std::os::fd::AsFd as _;

use weir_netdetect::choose::{Caution, Contract, Path, Why};
use weir_netdetect::facts::{Clash, Kind, MacvlanMode, NetnsId, Place, RuleOwner};
use weir_netdetect::read::{self, Known, ReadError};
use weir_testbeds::mac::Mac;
use weir_testbeds::netns::Netns;
use weir_testbeds::rule::Rule;
use weir_testbeds::world::{Family, Wiring, World};

use crate::support::{facts, facts_of, node_index, node_paths, plan};

#[test]
fn the_node_is_known_for_the_node_even_if_it_is_itself_a_container() {
    let world = World::builder("node").pods(["pod"]).build().unwrap();
    let facts = facts_of(&world, &world.node.netns);
    assert!(facts.is_host);
    assert_eq!(plan(&facts, Contract::InPod).outbound.why, Why::HostNetwork);
    // Its uplink is a veth like a pod's, whose peer is the machine's that the node runs on.
    let uplink = facts.interface_named("eth0").unwrap();
    assert_eq!(uplink.kind, Kind::Veth);
    assert_eq!(uplink.host_peer(), None);
    let pod = self::facts(&world, "pod");
    assert!(!pod.is_host);
    assert_eq!(node_paths(&pod), (Path::Tc, Path::Tc));
}

#[test]
fn another_namespace_is_known_if_the_reader_is_told_of_it() {
    let world = World::builder("known")
        .wiring(Wiring::Device)
        .pods(["pod"])
        .build()
        .unwrap();
    let known = Known::new(world.node.netns.as_fd()).and(world.remote.netns.as_fd());
    let facts = read::pod(world.pod("pod").netns.as_fd(), &known).unwrap();
    let id = NetnsId::of(world.remote.netns.as_fd()).unwrap();
    let far = facts.primary().unwrap().far_end.clone().unwrap();
    assert_eq!(far.place, Place::Known { id });
    assert_eq!(node_paths(&facts), (Path::Socket, Path::NotCaptured));
}

#[test]
fn pods_with_equal_ethernet_addresses_are_told_apart() {
    let mac = Mac([0xee; 6]);
    let world = World::builder("macs")
        .wiring(Wiring::PointToPoint)
        .pod_mac(mac)
        .pods(["one", "other"])
        .build()
        .unwrap();
    for name in ["one", "other"] {
        let facts = facts(&world, name);
        let eth0 = facts.primary().unwrap();
        assert_eq!(eth0.mac.map(|mac| mac.0), Some(mac.0));
        let peer = world.pod(name).host_interface().unwrap();
        assert_eq!(eth0.host_peer(), Some(node_index(&world, peer)), "{name}");
    }
}

#[test]
fn a_second_interface_has_a_plan_of_its_own() {
    let mut world = World::builder("multus")
        .family(Family::Dual)
        .pods(["pod"])
        .build()
        .unwrap();
    world
        .add_interface("pod", "net1", Wiring::MacvlanPrivate)
        .unwrap();
    let facts = facts(&world, "pod");
    let plan = plan(&facts, Contract::Node);
    assert_eq!(plan.primary, facts.default_routes.v4);
    assert_eq!((plan.outbound.path, plan.inbound.path), (Path::Tc, Path::Tc));
    let net1 = plan.interface("net1").unwrap();
    let mode = MacvlanMode::Private;
    assert_eq!(net1.kind, Kind::Macvlan { mode });
    assert_eq!(
        (net1.outbound.path, net1.inbound.path),
        (Path::NotCaptured, Path::NotCaptured)
    );
    assert!(!plan.captures_all());
    let interface = "net1".to_owned();
    assert_eq!(plan.cautions, [Caution::Divided { interface }]);
}

#[test]
fn a_pod_without_network_is_no_error() {
    let world = World::builder("nothing").build().unwrap();
    let facts = facts_of(&world, &Netns::new().unwrap());
    let kinds: Vec<_> = facts
        .interfaces
        .iter()
        .map(|interface| interface.kind.clone())
        .collect();
    assert_eq!(kinds, [Kind::Loopback]);
    for contract in [Contract::InPod, Contract::Node] {
        let plan = plan(&facts, contract);
        assert_eq!(
            (plan.outbound.path, plan.outbound.why),
            (Path::NotCaptured, Why::NoNetwork)
        );
    }
}

#[test]
fn rules_and_settings_that_get_in_the_way_are_found() {
    let world = World::builder("clash")
        .family(Family::Dual)
        .pods(["pod"])
        .build()
        .unwrap();
    let pod = &world.pod("pod").netns;
    pod.netlink(async |netlink| {
        netlink.add_rule(&Rule::v4(32764, 100).mark(0x111, 0xfff)).await?;
        netlink.add_rule(&Rule::v4(32763, 100).mark(0x222, 0xfff)).await?;
        netlink
            .add_rule(&Rule::v6(16, 7).from("fd00::/8".parse().unwrap()))
            .await?;
        netlink.add_rule(&Rule::v4(20000, 8).mark(0x8000, 0x8000)).await
    })
    .unwrap();
    pod.sysctl_set("net.ipv6.conf.lo.disable_ipv6", "1").unwrap();
    let facts = facts(&world, "pod");
    assert_eq!(facts.rules.len(), 4);
    let clashes: Vec<_> = facts
        .clashes()
        .map(|(rule, clash)| (rule.preference, rule.owner(), clash))
        .collect();
    assert_eq!(
        clashes,
        [
            (32763, RuleOwner::Other, Clash::After),
            (16, RuleOwner::Other, Clash::Preference)
        ]
    );
    assert!(facts.loopback_without_ipv6());
    let cautions = plan(&facts, Contract::InPod).cautions;
    assert!(cautions.contains(&Caution::LoopbackWithoutIpv6), "{cautions:?}");
    assert_eq!(cautions.len(), 3);
}

#[test]
fn what_is_no_namespace_is_refused() {
    let world = World::builder("wrong").build().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = read::pod(file.as_fd(), &Known::new(world.node.netns.as_fd())).unwrap_err();
    assert!(matches!(error, ReadError::Enter(_)), "{error}");
}
