//! What a pod sends.

use weir_common::flow::Decided;
use weir_common::mark;
use weir_common::pod::PodEntry;
use weir_common::ztunnel::NodeContract;
use weir_testbeds::packet::{ACK, FIN, RST, SYN};

use crate::scene::{DROP, Fate, OLD_ZTUNNEL_MAC, POD, Scene, ZTUNNEL_MAC, packet, tag};

const OUT: &str = "weir_pod_out";

fn to_ztunnel() -> Fate {
    Fate::redirected(ZTUNNEL_MAC, tag(1))
}

#[test]
fn connections_of_both_families_go_to_ztunnel() {
    let mut scene = Scene::new("out");
    for (pod, peer) in [
        ("10.1.0.5:40000", "10.2.0.9:80"),
        ("[fd01::5]:40000", "[fd02::9]:80"),
        ("10.1.0.5:40001", "192.168.0.1:10250"),
        ("10.1.0.5:40002", "10.1.0.6:80"),
    ] {
        let fate = scene.judge(OUT, &packet(pod, peer));
        assert_eq!(fate, to_ztunnel().counted("outbound"), "{pod} to {peer}");
        assert_eq!(scene.decided(POD, peer, pod), None, "it is implied");
        for flags in [ACK, ACK | FIN, RST] {
            let fate = scene.judge(OUT, &packet(pod, peer).flags(flags));
            assert_eq!(fate, to_ztunnel(), "flags {flags}");
        }
    }
}

#[test]
fn a_forged_source_never_gets_anywhere() {
    let mut scene = Scene::new("spoof");
    for (source, peer) in [
        ("10.1.0.6:40000", "10.2.0.9:80"),
        ("[fd01::6]:40000", "[fd02::9]:80"),
        ("10.1.0.9:40000", "10.2.0.9:80"),
        ("10.7.7.7:40000", "10.2.0.9:80"),
    ] {
        for flags in [SYN, ACK] {
            let fate = scene.judge(OUT, &packet(source, peer).flags(flags));
            assert_eq!(fate, Fate::dropped("foreign_source"), "{source}");
        }
    }
    scene.set_pod(0);
    let fate = scene.judge(OUT, &packet("10.7.7.7:40000", "10.2.0.9:80"));
    assert_eq!(
        fate,
        Fate::goes_on(),
        "a pod that is not captured is none of our business"
    );
}

#[test]
fn exemptions_are_remembered_for_the_whole_connection() {
    let mut scene = Scene::new("exempt");
    for (pod, peer, reason) in [
        ("10.1.0.5:40000", "10.2.0.9:3306", "excluded_port"),
        ("[fd01::5]:40000", "[fd02::9]:3306", "excluded_port"),
        ("10.1.0.5:40000", "10.1.0.9:15020", "to_ztunnel"),
    ] {
        let fate = scene.judge(OUT, &packet(pod, peer));
        assert_eq!(fate, Fate::goes_on().counted(reason), "{peer}");
        assert_eq!(scene.decided(POD, peer, pod).unwrap().what, Decided::PASSED);
        let fate = scene.judge(OUT, &packet(pod, peer).flags(ACK));
        assert_eq!(fate, Fate::goes_on());
        let fate = scene.judge("weir_pod_in", &packet(peer, pod).flags(SYN | ACK));
        assert_eq!(fate, Fate::goes_on(), "the answer");
    }
    let fate = scene.judge(OUT, &packet("[fe80::5]:40000", "[fe80::1]:80"));
    assert_eq!(fate, Fate::goes_on());
}

#[test]
fn a_new_connection_replaces_what_was_decided_for_an_old_one() {
    let mut scene = Scene::new("reuse");
    let (pod, peer) = ("10.1.0.5:40000", "10.2.0.9:80");
    scene.decide(POD, peer, pod, Decided::PASSED, 0);
    assert_eq!(scene.judge(OUT, &packet(pod, peer).flags(ACK)), Fate::goes_on());
    assert_eq!(
        scene.judge(OUT, &packet(pod, peer)),
        to_ztunnel().counted("outbound")
    );
    assert_eq!(scene.judge(OUT, &packet(pod, peer).flags(ACK)), to_ztunnel());
    assert_eq!(scene.decided(POD, peer, pod), None);
}

#[test]
fn connections_stay_with_the_ztunnel_that_has_them() {
    let mut scene = Scene::new("upgrade");
    let (pod, peer) = ("10.1.0.5:40000", "10.2.0.9:80");
    scene.decide(POD, peer, pod, Decided::CAPTURED, 0);
    let fate = scene.judge(OUT, &packet(pod, peer).flags(ACK));
    assert_eq!(fate, Fate::redirected(OLD_ZTUNNEL_MAC, tag(1)));
    scene.decide(POD, peer, pod, Decided::CAPTURED, 3);
    let fate = scene.judge(OUT, &packet(pod, peer).flags(ACK));
    assert_eq!(fate, Fate::dropped("no_ztunnel"), "its ztunnel is gone");
}

#[test]
fn without_a_ztunnel_connections_stop_or_pass_as_configured() {
    let mut scene = Scene::new("nobody");
    let (pod, peer) = ("10.1.0.5:40000", "10.2.0.9:80");
    scene.without_ztunnel(0);
    for flags in [SYN, ACK] {
        let fate = scene.judge(OUT, &packet(pod, peer).flags(flags));
        assert_eq!(fate, Fate::dropped("no_ztunnel"));
    }
    scene.without_ztunnel(NodeContract::FAIL_OPEN);
    assert_eq!(scene.judge(OUT, &packet(pod, peer).flags(ACK)).verdict, DROP);
    assert_eq!(
        scene.judge(OUT, &packet(pod, peer)),
        Fate::goes_on().counted("fail_open")
    );
    assert_eq!(scene.judge(OUT, &packet(pod, peer).flags(ACK)), Fate::goes_on());
}

#[test]
fn before_and_after_capturing_new_connections_pass_and_old_ones_go_on() {
    let mut scene = Scene::new("draining");
    let (pod, peer) = ("10.1.0.5:40000", "10.2.0.9:80");
    scene.judge(OUT, &packet(pod, peer));
    scene.set_pod(PodEntry::DRAINING);
    assert_eq!(scene.judge(OUT, &packet(pod, peer).flags(ACK)), to_ztunnel());
    let late = "10.1.0.5:40001";
    assert_eq!(scene.judge(OUT, &packet(late, peer)), Fate::goes_on());
    assert_eq!(scene.judge(OUT, &packet(late, peer).flags(ACK)), Fate::goes_on());
    scene.set_pod(PodEntry::REDIRECTING);
    assert_eq!(scene.judge(OUT, &packet(late, peer).flags(ACK)), Fate::goes_on());
}

#[test]
fn what_ztunnel_sends_in_the_pods_name_goes_on_without_its_mark() {
    let mut scene = Scene::new("bypass");
    let bytes = packet("10.1.0.5:40000", "10.2.0.9:80").build();
    let others = 0xabc0_0000;
    let fate = scene.judge_bytes(OUT, &bytes, mark::BYPASS | others);
    assert_eq!(fate, Fate::goes_on().mark(others));
}

#[test]
fn fragments_of_tcp_are_refused_and_nothing_else() {
    let mut scene = Scene::new("fragments");
    let v4 = || packet("10.1.0.5:40000", "10.2.0.9:80");
    let v6 = || packet("[fd01::5]:40000", "[fd02::9]:80");
    for later in [
        v4().fragment(3, true),
        v4().fragment(3, false),
        v6().fragment(3, true),
    ] {
        assert_eq!(scene.judge(OUT, &later), Fate::dropped("fragment"));
    }
    for udp in [
        v4().protocol(17).fragment(3, true),
        v6().protocol(17).fragment(3, true),
    ] {
        assert_eq!(scene.judge(OUT, &udp), Fate::goes_on());
    }
    scene.set_pod(0);
    assert_eq!(scene.judge(OUT, &v4().fragment(3, true)), Fate::goes_on());
}
