//! What is sent to a pod.

use weir_common::flow::Decided;
use weir_common::mark;
use weir_common::pod::PodEntry;
use weir_testbeds::packet::{ACK, Packet, SYN};

use crate::scene::{Fate, OLD_ZTUNNEL_MAC, POD, Scene, ZTUNNEL_MAC, packet, tag};

const IN: &str = "weir_pod_in";

fn to_ztunnel() -> Fate {
    Fate::redirected(ZTUNNEL_MAC, tag(2)).mark(mark::TAGGED)
}

#[test]
fn connections_of_both_families_go_to_ztunnel() {
    let mut scene = Scene::new("in");
    for (peer, pod, reason) in [
        ("10.2.0.9:50000", "10.1.0.5:80", "inbound"),
        ("[fd02::9]:50000", "[fd01::5]:80", "inbound"),
        ("10.2.0.9:50000", "10.1.0.5:15008", "tunnel"),
        ("[fd02::9]:50000", "[fd01::5]:15008", "tunnel"),
    ] {
        assert_eq!(scene.judge(IN, &packet(peer, pod)), to_ztunnel().counted(reason));
        assert_eq!(scene.decided(POD, peer, pod), None, "it is implied");
        assert_eq!(scene.judge(IN, &packet(peer, pod).flags(ACK)), to_ztunnel());
    }
}

#[test]
fn what_is_not_for_the_pod_goes_on() {
    let mut scene = Scene::new("routed");
    for destination in ["10.1.0.6:80", "10.9.9.9:80"] {
        let fate = scene.judge(IN, &packet("10.2.0.9:50000", destination));
        assert_eq!(fate, Fate::goes_on(), "{destination}");
    }
    let udp = packet("10.2.0.9:50000", "10.1.0.5:80").protocol(17);
    assert_eq!(scene.judge(IN, &udp), Fate::goes_on());
}

#[test]
fn exemptions_are_remembered_for_the_whole_connection() {
    let mut scene = Scene::new("inexempt");
    let (peer, pod) = ("10.2.0.9:50000", "10.1.0.5:9100");
    assert_eq!(
        scene.judge(IN, &packet(peer, pod)),
        Fate::goes_on().counted("excluded_port")
    );
    let answer = packet(pod, peer).flags(SYN | ACK);
    assert_eq!(scene.judge("weir_pod_out", &answer), Fate::goes_on());
    scene.set_pod(PodEntry::REDIRECTING | PodEntry::INBOUND_BYPASS);
    let other = "10.1.0.5:81";
    assert_eq!(
        scene.judge(IN, &packet(peer, other)),
        Fate::goes_on().counted("inbound_bypass")
    );
    let tunnel = "10.1.0.5:15008";
    assert_eq!(
        scene.judge(IN, &packet(peer, tunnel)),
        to_ztunnel().counted("tunnel")
    );
}

#[test]
fn an_answer_goes_where_its_connection_was_decided_to_go() {
    let mut scene = Scene::new("answers");
    let (peer, pod) = ("10.2.0.9:80", "10.1.0.5:40000");
    scene.decide(POD, peer, pod, Decided::CAPTURED, 0);
    let answer = || packet(peer, pod).flags(SYN | ACK);
    let old = Fate::redirected(OLD_ZTUNNEL_MAC, tag(2)).mark(mark::TAGGED);
    assert_eq!(scene.judge(IN, &answer()), old);
    scene.decide(POD, peer, pod, Decided::PASSED, 0);
    assert_eq!(scene.judge(IN, &answer()), Fate::goes_on());
}

/// An ICMP error about the packet, which shows no more of it than the ports.
fn complaint(about: &Packet, v6: bool, kind: u8) -> Vec<u8> {
    let inner = about.clone().without_ethernet().build();
    let (shown, protocol, source, destination) = if v6 {
        (44, 58, "[fd02::1]:1", "[fd01::5]:1")
    } else {
        (24, 1, "10.2.0.1:1", "10.1.0.5:1")
    };
    let outer = packet(source, destination).protocol(protocol);
    let mut bytes = outer.build();
    bytes.truncate(14 + if v6 { 40 } else { 20 });
    bytes.extend([kind, 4, 0, 0, 0, 0, 5, 20]);
    bytes.extend(&inner[..shown]);
    bytes
}

#[test]
fn complaints_about_what_ztunnel_sent_go_to_ztunnel() {
    let mut scene = Scene::new("pmtu");
    let sent = [
        (packet("10.1.0.5:40000", "10.2.0.9:80").flags(ACK), false, 3),
        (packet("[fd01::5]:40000", "[fd02::9]:80").flags(ACK), true, 2),
    ];
    for (about, v6, kind) in sent {
        let bytes = complaint(&about, v6, kind);
        assert_eq!(scene.judge_bytes(IN, &bytes, 0), to_ztunnel());
        for length in 14 + 40 + usize::from(v6) * 20..bytes.len() {
            let fate = scene.judge_bytes(IN, &bytes[..length], 0);
            assert_eq!(fate, Fate::goes_on(), "cut off at {length}");
        }
        let echo = complaint(&about, v6, if v6 { 128 } else { 8 });
        assert_eq!(scene.judge_bytes(IN, &echo, 0), Fate::goes_on(), "no error");
    }
    scene.decide(POD, "10.2.0.9:80", "10.1.0.5:40000", Decided::PASSED, 0);
    let about = packet("10.1.0.5:40000", "10.2.0.9:80").flags(ACK);
    let fate = scene.judge_bytes(IN, &complaint(&about, false, 3), 0);
    assert_eq!(fate, Fate::goes_on(), "the pod's own connection");
    let foreign = packet("10.1.0.6:40000", "10.2.0.9:80").flags(ACK);
    let fate = scene.judge_bytes(IN, &complaint(&foreign, false, 3), 0);
    assert_eq!(fate, Fate::goes_on(), "not about the pod");
}

#[test]
fn fragments_of_tcp_are_refused() {
    let mut scene = Scene::new("infragments");
    let later = packet("10.2.0.9:50000", "10.1.0.5:80").fragment(3, true);
    assert_eq!(scene.judge(IN, &later), Fate::dropped("fragment"));
}
