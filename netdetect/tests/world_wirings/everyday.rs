//! Bridge, point-to-point, and macvlan.

use weir_netdetect::choose::{Contract, Path};
use weir_netdetect::facts::{Kind, MacvlanMode};
use weir_testbeds::world::{Family, Wiring, World};

use crate::support::{assert_matches, facts, facts_of, node_index, node_paths, plan};

#[test]
fn a_pod_on_a_bridge_has_a_peer_on_the_node() {
    veth(Wiring::Bridge);
}

#[test]
fn a_point_to_point_pod_has_a_peer_on_the_node() {
    veth(Wiring::PointToPoint);
}

fn veth(wiring: Wiring) {
    for family in Family::ALL {
        let world = World::builder("veth")
            .wiring(wiring)
            .family(family)
            .pods(["pod"])
            .build()
            .unwrap();
        let facts = facts(&world, "pod");
        let eth0 = facts.primary().unwrap();
        assert_eq!(eth0.kind, Kind::Veth);
        assert_matches(&world, eth0, &world.pod("pod").primary);
        let default = |has: bool| has.then_some(eth0.index);
        assert_eq!(
            facts.default_routes.v4,
            default(family != Family::V6),
            "{family:?}"
        );
        assert_eq!(
            facts.default_routes.v6,
            default(family != Family::V4),
            "{family:?}"
        );
        assert_eq!(node_paths(&facts), (Path::Tc, Path::Tc));
        assert_eq!(plan(&facts, Contract::InPod).outbound.path, Path::Socket);
    }
}

#[test]
fn a_macvlan_pod_is_a_child_of_the_uplink() {
    let world = World::builder("macvlan")
        .wiring(Wiring::MacvlanBridge)
        .pods(["pod"])
        .build()
        .unwrap();
    let facts = facts(&world, "pod");
    let eth0 = facts.primary().unwrap();
    assert_eq!(
        eth0.kind,
        Kind::Macvlan {
            mode: MacvlanMode::Bridge
        }
    );
    assert_eq!(eth0.host_parent(), Some(node_index(&world, "eth0")));
    assert_matches(&world, eth0, &world.pod("pod").primary);
    assert_eq!(node_paths(&facts), (Path::Socket, Path::Steer));
}

#[test]
fn the_node_is_known_for_the_node() {
    let world = World::builder("node").pods(["pod"]).build().unwrap();
    let facts = facts_of(&world, &world.node.netns);
    assert!(facts.is_host);
    assert_eq!(node_paths(&facts), (Path::NotCaptured, Path::NotCaptured));
    assert!(!facts_of(&world, &world.pod("pod").netns).is_host);
}
