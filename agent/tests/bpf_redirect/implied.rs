//! Of connections of the ztunnel that is implied nothing is remembered; what is remembered goes before.

use weir_common::flow::Decided;
use weir_common::pod::PodEntry;
use weir_testbeds::packet::{ACK, SYN};

use crate::scene::{Fate, GATEWAY, OLD_ZTUNNEL_MAC, POD, POD_MAC, Scene, ZTUNNEL_MAC, packet, tag};

const OUT: &str = "weir_pod_out";
const FROM_ZTUNNEL: &str = "weir_ztunnel_out";

const POD_END: &str = "10.1.0.5:40000";
const LATER_END: &str = "10.1.0.5:40001";
const PEER_END: &str = "10.2.0.9:80";

fn captured(by: [u8; 6]) -> Fate {
    Fate::redirected(by, tag(1))
}

#[test]
fn while_another_takes_new_connections_each_is_remembered() {
    let mut scene = Scene::new("implied_upgrade");
    scene.judge(OUT, &packet(POD_END, PEER_END));
    scene.set_contract(0, 0);
    let syn = scene.judge(OUT, &packet(LATER_END, PEER_END));
    assert_eq!(syn, captured(OLD_ZTUNNEL_MAC).counted("outbound"));
    let decided = scene.decided(POD, PEER_END, LATER_END).unwrap();
    assert_eq!((decided.what, decided.ztunnel), (Decided::CAPTURED, 0));
    for back in [0, 1] {
        scene.set_contract(back, 0);
        for (end, by) in [(POD_END, ZTUNNEL_MAC), (LATER_END, OLD_ZTUNNEL_MAC)] {
            let fate = scene.judge(OUT, &packet(end, PEER_END).flags(ACK));
            assert_eq!(fate, captured(by), "{end}");
        }
    }
    scene.judge(OUT, &packet(LATER_END, PEER_END));
    let fate = scene.judge(OUT, &packet(LATER_END, PEER_END).flags(ACK));
    assert_eq!(fate, captured(ZTUNNEL_MAC), "the next between the same ends");
}

/// As its ztunnel is there, if it listens no more.
#[test]
fn a_connection_goes_on_although_no_ztunnel_takes_new_ones() {
    let mut scene = Scene::new("implied_closed");
    scene.judge(OUT, &packet(POD_END, PEER_END));
    scene.set_contract(weir_common::ztunnel::SLOTS, 0);
    let fate = scene.judge(OUT, &packet(POD_END, PEER_END).flags(ACK));
    assert_eq!(fate, captured(ZTUNNEL_MAC));
}

#[test]
fn what_ztunnel_makes_with_a_pod_that_is_not_captured_is_remembered() {
    let mut scene = Scene::new("implied_pod");
    for (flags, remembered) in [
        (0, true),
        (PodEntry::REDIRECTING, false),
        (PodEntry::DRAINING, false),
    ] {
        scene.set_pod(flags);
        let fate = scene.judge(FROM_ZTUNNEL, &packet(PEER_END, "10.1.0.5:80"));
        assert_eq!(fate, Fate::redirected(POD_MAC, GATEWAY).counted("to_application"));
        let decided = scene.decided(POD, PEER_END, "10.1.0.5:80");
        assert_eq!(decided.is_some(), remembered, "flags {flags}");
        let answer = packet("10.1.0.5:80", PEER_END).flags(SYN | ACK);
        assert_eq!(scene.judge(OUT, &answer), captured(ZTUNNEL_MAC), "flags {flags}");
    }
}

/// Nothing is looked up for connections between addresses of which nothing has ever been remembered.
#[test]
fn what_is_remembered_between_two_addresses_is_found_from_then_on() {
    let mut scene = Scene::new("implied_pairs");
    for (pod, peer, excluded) in [
        (POD_END, PEER_END, "10.2.0.9:3306"),
        ("[fd01::5]:40000", "[fd02::9]:80", "[fd02::9]:3306"),
    ] {
        for _ in 0..2 {
            scene.judge(OUT, &packet(pod, peer));
            let fate = scene.judge(OUT, &packet(pod, peer).flags(ACK));
            assert_eq!(fate, captured(ZTUNNEL_MAC), "{peer}");
            // On the same port as another connection had before.
            let passed = scene.judge(OUT, &packet(pod, excluded));
            assert_eq!(passed, Fate::goes_on().counted("excluded_port"));
            let fate = scene.judge(OUT, &packet(pod, excluded).flags(ACK));
            assert_eq!(fate, Fate::goes_on(), "{excluded}");
        }
    }
}

/// What is kept for all connections between two addresses is not which ztunnel has them.
#[test]
fn the_next_that_is_implied_has_what_begins_then() {
    let mut scene = Scene::new("implied_next");
    for (pod, peer) in [(POD_END, PEER_END), ("[fd01::5]:40000", "[fd02::9]:80")] {
        for (slot, mac) in [(1, ZTUNNEL_MAC), (0, OLD_ZTUNNEL_MAC), (1, ZTUNNEL_MAC)] {
            scene.set_implied(slot, slot.into(), 0);
            assert_eq!(scene.judge(OUT, &packet(pod, peer)).frame, captured(mac).frame);
            for _ in 0..2 {
                let fate = scene.judge(OUT, &packet(pod, peer).flags(ACK));
                assert_eq!(fate, captured(mac), "{peer} by {slot}");
            }
            assert_eq!(scene.decided(POD, peer, pod), None);
        }
    }
}
