//! Pairs of addresses between which something may be remembered: all of them, some, and those of which it is forgotten.

use weir_common::flow::{Decided, PAIRS};
use weir_testbeds::packet::ACK;

use crate::scene::{Fate, POD, Scene, ZTUNNEL_MAC, ends, packet, tag};

const OUT: &str = "weir_pod_out";
const IN: &str = "weir_pod_in";

const POD_END: &str = "10.1.0.5:40000";
const PEER_END: &str = "10.2.0.9:80";
const EXCLUDED: &str = "10.2.0.9:3306";

impl Scene {
    /// Pairs of which each connection is looked up.
    fn in_force(&self, over: u32) -> usize {
        self.pairs()
            .iter()
            .filter(|word| *word.as_ref().unwrap() > over)
            .count()
    }
}

/// A captured connection, and one that is excluded, between the same addresses.
fn assert_goes_on_as_it_began(scene: &mut Scene) {
    for (to, fate) in [
        (PEER_END, Fate::redirected(ZTUNNEL_MAC, tag(1))),
        (EXCLUDED, Fate::goes_on()),
    ] {
        assert_eq!(scene.judge(OUT, &packet(POD_END, to).flags(ACK)), fate, "{to}");
    }
}

/// A node that has spoken with everybody: all is looked up, and found as ever.
#[test]
fn with_all_pairs_taken_all_is_decided_as_before() {
    let mut scene = Scene::new("pairs_full");
    let mut pairs = scene.pairs();
    for place in 0..PAIRS {
        pairs.set(place, 1, 0).unwrap();
    }
    for _ in 0..2 {
        scene.judge(OUT, &packet(POD_END, PEER_END));
        scene.judge(OUT, &packet(POD_END, EXCLUDED));
        for _ in 0..2 {
            assert_goes_on_as_it_began(&mut scene);
        }
    }
    scene.maps.renew_pairs().unwrap();
    scene.maps.renew_pairs().unwrap();
    assert_eq!(
        scene.in_force(1),
        1,
        "only of the exclusion anything is remembered"
    );
    assert_goes_on_as_it_began(&mut scene);
}

#[test]
fn what_is_remembered_stays_so_however_often_pairs_are_renewed() {
    let mut scene = Scene::new("pairs_renewed");
    let ack = |port: u16| packet(&format!("10.2.0.9:{port}"), "10.1.0.5:80").flags(ACK);
    for port in 1..20 {
        scene.decide(
            POD,
            &format!("10.2.0.9:{port}"),
            "10.1.0.5:80",
            Decided::PASSED,
            0,
        );
        let passed = packet(POD_END, &format!("10.2.1.{port}:3306"));
        assert_eq!(
            scene.judge(OUT, &passed),
            Fate::goes_on().counted("excluded_port")
        );
        scene.maps.renew_pairs().unwrap();
        // What the kernel keeps of a packet before is no help.
        scene.maps.begin_era().unwrap();
        for earlier in 1..=port {
            assert_eq!(
                scene.judge(IN, &ack(earlier)),
                Fate::goes_on(),
                "{earlier} of {port}"
            );
            let passed = packet(POD_END, &format!("10.2.1.{earlier}:3306")).flags(ACK);
            assert_eq!(scene.judge(OUT, &passed), Fate::goes_on(), "{earlier} of {port}");
        }
    }
}

/// Of which nothing is remembered any longer nothing is looked up, until something is remembered again.
#[test]
fn a_pair_is_let_go_of_and_taken_again() {
    let mut scene = Scene::new("pairs_again");
    let seen = |scene: &mut Scene| {
        let passed = scene.judge(OUT, &packet(POD_END, EXCLUDED).flags(ACK));
        passed == Fate::goes_on()
    };
    for turn in 0..3 {
        scene.judge(OUT, &packet(POD_END, EXCLUDED));
        assert!(seen(&mut scene), "turn {turn}");
        let mut flows = scene.maps.flows().unwrap();
        for ends in flows.keys().map(Result::unwrap).collect::<Vec<_>>() {
            flows.remove(&ends).unwrap();
        }
        scene.maps.renew_pairs().unwrap();
        scene.maps.renew_pairs().unwrap();
        // Something that nobody would look for.
        let between = ends(EXCLUDED, POD_END);
        let passed = Decided {
            what: Decided::PASSED,
            ztunnel: 0,
            netns: POD,
        };
        flows.insert(between, passed, 0).unwrap();
        assert!(!seen(&mut scene), "turn {turn}");
    }
}
