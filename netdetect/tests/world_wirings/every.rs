//! What is read of each wiring, fact by fact, and the plan that follows.

use weir_netdetect::choose::{Contract, Path};
use weir_netdetect::facts::{FarEnd, Place, PodFacts};
use weir_testbeds::drivers::unless_missing;
use weir_testbeds::world::{Family, Wiring, World};

use crate::support::{assert_matches, facts, node_index, node_paths, plan};
use crate::wiring_table::{self, Far};

#[test]
fn every_wiring_is_recognised() {
    for wiring in Wiring::ALL {
        for family in Family::ALL {
            let world = World::builder("every")
                .wiring(wiring)
                .family(family)
                .pods(["pod"])
                .build()
                .unwrap();
            assert_recognised(&world, wiring);
        }
    }
}

#[test]
fn wirings_that_take_more_drivers_are_recognised() {
    for wiring in Wiring::WITH_MORE_DRIVERS {
        let world = World::builder("drivers")
            .wiring(wiring)
            .family(Family::Dual)
            .pods(["pod"])
            .build();
        if let Some(world) = unless_missing(wiring, world).unwrap() {
            assert_recognised(&world, wiring);
        }
    }
}

fn assert_recognised(world: &World, wiring: Wiring) {
    let expected = wiring_table::row(wiring);
    let what = expected.what;
    let facts = facts(world, "pod");
    let eth0 = facts.primary().unwrap();
    assert_eq!(eth0.kind, expected.kind, "{what}");
    assert_matches(world, eth0, &world.pod("pod").primary);
    match expected.far {
        Far::Peer => assert!(eth0.host_peer().is_some(), "{wiring:?}"),
        Far::ChildOf(parent) => assert_eq!(eth0.host_parent(), Some(node_index(world, parent)), "{wiring:?}"),
        Far::Elsewhere => assert!(
            matches!(
                eth0.far_end,
                Some(FarEnd {
                    place: Place::Elsewhere { .. },
                    ..
                })
            ),
            "{wiring:?}: {:?}",
            eth0.far_end
        ),
    }
    assert_default_routes(world, &facts, wiring);
    assert_eq!(
        node_paths(&facts),
        (expected.outbound, expected.inbound),
        "{wiring:?}"
    );
    let in_pod = plan(&facts, Contract::InPod);
    assert_eq!(
        (in_pod.outbound.path, in_pod.inbound.path),
        (Path::Socket, Path::Socket)
    );
    assert_eq!(in_pod.cautions, [], "{wiring:?}");
    let again = self::facts(world, "pod");
    assert_eq!(facts, again, "{wiring:?}: the same world, the same facts");
    assert_eq!(plan(&again, Contract::InPod), in_pod);
}

fn assert_default_routes(world: &World, facts: &PodFacts, wiring: Wiring) {
    let eth0 = facts.interface_named("eth0").unwrap().index;
    let default = |has: bool| has.then_some(eth0);
    let family = world.family();
    assert_eq!(
        facts.default_routes.v4,
        default(family != Family::V6),
        "{wiring:?} {family:?}"
    );
    assert_eq!(
        facts.default_routes.v6,
        default(family != Family::V4),
        "{wiring:?} {family:?}"
    );
    assert!(!facts.is_host);
    assert_eq!(facts.rules, []);
}
