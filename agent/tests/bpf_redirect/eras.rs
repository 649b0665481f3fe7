//! Connections that have been checked are checked anew when something changes that they were checked by.

use weir_common::flow::Decided;
use weir_common::mark;
use weir_common::pod::PodEntry;
use weir_testbeds::packet::{ACK, Packet};

use crate::scene::{Fate, OLD_ZTUNNEL_MAC, OTHER, POD, POD_V4, Scene, ZTUNNEL_MAC, packet, tag};

const OUT: &str = "weir_pod_out";
const IN: &str = "weir_pod_in";

const POD_END: &str = "10.1.0.5:40000";
const PEER_END: &str = "10.2.0.9:80";

fn sent() -> Packet {
    packet(POD_END, PEER_END).flags(ACK)
}

fn received() -> Packet {
    packet(PEER_END, POD_END).flags(ACK)
}

fn captured_out() -> Fate {
    Fate::redirected(ZTUNNEL_MAC, tag(1))
}

fn captured_in() -> Fate {
    Fate::redirected(ZTUNNEL_MAC, tag(2)).mark(mark::TAGGED)
}

/// A connection that has been captured, and whose packets of both directions have been checked.
fn scene(label: &str) -> Scene {
    let mut scene = Scene::new(label);
    scene.judge(OUT, &packet(POD_END, PEER_END));
    for _ in 0..2 {
        assert_eq!(scene.judge(OUT, &sent()), captured_out());
        assert_eq!(scene.judge(IN, &received()), captured_in());
    }
    scene
}

#[test]
fn a_pod_that_loses_its_address_loses_its_connections() {
    let mut scene = scene("era_address");
    scene.take_address(POD_V4);
    assert_eq!(scene.judge(OUT, &sent()), Fate::dropped("foreign_source"));
    assert_eq!(scene.judge(IN, &received()), Fate::goes_on());
}

#[test]
fn the_next_pod_at_an_address_has_no_part_in_its_connections() {
    let mut scene = scene("era_heir");
    scene.decide(POD, PEER_END, POD_END, Decided::PASSED, 0);
    assert_eq!(scene.judge(OUT, &sent()), Fate::goes_on());
    scene.set_local(POD_V4, |pod| pod.netns = OTHER);
    scene.set_pod_here(OTHER);
    assert_eq!(scene.judge(OUT, &sent()), Fate::goes_on(), "it is not enrolled");
    scene.set_pod_of(OTHER, PodEntry::REDIRECTING);
    assert_eq!(scene.judge(OUT, &sent()), captured_out());
    assert_eq!(scene.judge(IN, &received()), captured_in());
}

#[test]
fn at_an_interface_of_another_pod_a_checked_connection_is_forged() {
    let mut scene = scene("era_interface");
    scene.set_pod_of(OTHER, PodEntry::REDIRECTING);
    scene.set_pod_here(OTHER);
    assert_eq!(scene.judge(OUT, &sent()), Fate::dropped("foreign_source"));
    assert_eq!(scene.judge(IN, &received()), Fate::goes_on());
}

#[test]
fn what_is_not_checked_by_goes_for_every_packet() {
    let mut scene = scene("era_place");
    scene.set_contract(0, 0);
    assert_eq!(scene.judge(OUT, &sent()), captured_out(), "its ztunnel has it");
    scene.decide(POD, PEER_END, POD_END, Decided::CAPTURED, 0);
    let old = Fate::redirected(OLD_ZTUNNEL_MAC, tag(1));
    assert_eq!(scene.judge(OUT, &sent()), old);
    assert_eq!(scene.judge(OUT, &sent()), old);
    scene.vacate(0);
    assert_eq!(scene.judge(OUT, &sent()), Fate::dropped("no_ztunnel"));
}

#[test]
fn a_pod_out_of_the_mesh_decides_nothing_in_the_name_of_another() {
    let mut scene = Scene::new("era_forger");
    let (other, forged) = ("10.1.0.6:40000", packet("10.1.0.6:40000", PEER_END));
    scene.decide(OTHER, PEER_END, other, Decided::CAPTURED, 0);
    for flags in [0, PodEntry::DRAINING] {
        scene.set_pod(flags);
        assert_eq!(scene.judge(OUT, &forged), Fate::goes_on());
        assert_eq!(scene.judge(OUT, &forged.clone().flags(ACK)), Fate::goes_on());
        let decided = scene.decided(OTHER, PEER_END, other).unwrap();
        assert_eq!(decided.what, Decided::CAPTURED);
    }
}
