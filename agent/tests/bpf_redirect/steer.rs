//! Pods that are reached by Ethernet address.

use weir_common::flow::Flow;
use weir_common::local_pod::LocalPod;
use weir_common::pod::PodEntry;
use weir_common::reason::Reason;
use weir_testbeds::packet::{ACK, FIN, Packet, RST, SYN};

use crate::scene::{
    Fate, HERE, OTHER, OTHER_V4, OTHER_V6, POD, POD_MAC, POD_V4, POD_V6, SECRET, STEERED_MAC, Scene,
    ZTUNNEL_V4, address, from_mac, packet, tag,
};

const OUT: &str = "weir_steer_out";
const IN: &str = "weir_steer_in";
const BACK: &str = "weir_steer_back";
const FENCE: &str = "weir_steer_fence";

/// The source of frames that say nothing else.
const PLAIN: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OUTBOUND: u8 = 1;
const INBOUND: u8 = 2;
const SERVED: u8 = 3;

/// Both pods and ztunnel are beside each other.
fn scene(label: &str) -> Scene {
    let scene = Scene::new(label);
    for address in [POD_V4, POD_V6, OTHER_V4, OTHER_V6] {
        scene.set_local(address, |pod| {
            pod.interface = 0;
            pod.flags = LocalPod::STEERED;
        });
    }
    scene.set_local(ZTUNNEL_V4, |ztunnel| {
        ztunnel.flags = LocalPod::ZTUNNEL | LocalPod::STEERED;
        ztunnel.mac = STEERED_MAC;
    });
    scene
}

fn addressed(destination: [u8; 6], source: [u8; 6]) -> Fate {
    Fate {
        frame: Some((destination, source)),
        ..Fate::goes_on()
    }
}

fn of_other_secret(direction: u8) -> [u8; 6] {
    [2, 10, direction, SECRET[0], SECRET[1], SECRET[2] ^ 1]
}

const OUTGOING: [(&str, &str); 3] = [
    ("10.1.0.5:40000", "10.2.0.9:80"),
    ("[fd01::5]:40000", "[fd02::9]:80"),
    ("10.1.0.5:40002", "10.1.0.6:80"),
];

#[test]
fn what_a_pod_sends_is_addressed_to_ztunnel() {
    let mut scene = scene("steer_out");
    for (pod, peer) in OUTGOING {
        let steered = || addressed(STEERED_MAC, tag(OUTBOUND));
        let fate = scene.judge(OUT, &packet(pod, peer));
        assert_eq!(fate, steered().counted("outbound"), "{pod} to {peer}");
        assert_eq!(scene.decided(POD, peer, pod), None, "it is implied");
        for flags in [ACK, ACK | FIN, RST] {
            assert_eq!(scene.judge(OUT, &packet(pod, peer).flags(flags)), steered());
        }
    }
    scene.without_ztunnel(0);
    let fate = scene.judge(OUT, &packet("10.1.0.5:40000", "10.2.0.9:80"));
    assert_eq!(fate, Fate::dropped("no_ztunnel"));
}

#[test]
fn what_a_pod_excludes_or_forges_is_judged_as_at_the_host() {
    let mut scene = scene("steer_rules");
    for (from, to, fate) in [
        (
            "10.1.0.5:1",
            "10.2.0.9:3306",
            Fate::goes_on().counted("excluded_port"),
        ),
        ("10.1.0.6:1", "10.2.0.9:80", Fate::dropped("foreign_source")),
        ("[fd01::6]:1", "[fd02::9]:80", Fate::dropped("foreign_source")),
        ("[fe80::5]:1", "[fe80::9]:80", Fate::goes_on()),
    ] {
        assert_eq!(scene.judge(OUT, &packet(from, to)), fate, "{from} to {to}");
    }
    scene.set_pod(0);
    for (pod, peer) in OUTGOING {
        assert_eq!(scene.judge(OUT, &packet(pod, peer)), Fate::goes_on());
    }
}

/// Whatever ARP says: what a connection turned to ztunnel carries is in clear.
#[test]
fn what_is_for_ztunnel_itself_is_addressed_to_it() {
    let mut scene = scene("steer_self");
    let to_ztunnel = packet("10.1.0.5:40000", "10.1.0.9:15001");
    let own = || addressed(STEERED_MAC, PLAIN);
    assert_eq!(scene.judge(OUT, &to_ztunnel), own().counted("to_ztunnel"));
    assert_eq!(scene.judge(OUT, &to_ztunnel.clone().flags(ACK)), own());
}

#[test]
fn a_pod_cannot_tag_frames_itself() {
    let mut scene = scene("steer_forge");
    let inward = packet("10.2.0.9:50000", "10.1.0.5:80");
    for direction in [OUTBOUND, INBOUND, SERVED] {
        for packet in [inward.clone(), packet("10.1.0.5:1", "10.2.0.9:80")] {
            let bytes = from_mac(packet, tag(direction)).build();
            let fate = scene.judge_bytes(OUT, &bytes, 0);
            assert_eq!(fate, Fate::dropped("forged_tag"), "from a socket, {direction}");
        }
    }
    let sent_on = |scene: &mut Scene, packet: &Packet, source| {
        let bytes = from_mac(packet.clone(), source).build();
        scene.judge_from(OUT, &bytes, 0, HERE)
    };
    assert_eq!(sent_on(&mut scene, &inward, tag(INBOUND)), Fate::goes_on());
    let to_other = packet("10.2.0.9:50000", "10.1.0.6:80");
    for (packet, source) in [
        (&inward, tag(OUTBOUND)),
        (&inward, tag(SERVED)),
        (&inward, of_other_secret(INBOUND)),
        (&to_other, tag(INBOUND)),
    ] {
        assert_eq!(sent_on(&mut scene, packet, source), Fate::dropped("forged_tag"));
    }
}

#[test]
fn what_comes_to_a_pod_is_sent_on_to_ztunnel() {
    let mut scene = scene("steer_in");
    for (peer, pod, reason) in [
        ("10.2.0.9:50000", "10.1.0.5:80", "inbound"),
        ("[fd02::9]:50000", "[fd01::5]:80", "inbound"),
        ("10.2.0.9:50001", "10.1.0.5:15008", "tunnel"),
    ] {
        let sent_on = || Fate::redirected(STEERED_MAC, tag(INBOUND));
        assert_eq!(scene.judge(IN, &packet(peer, pod)), sent_on().counted(reason));
        assert_eq!(scene.judge(IN, &packet(peer, pod).flags(ACK)), sent_on());
        assert_eq!(scene.decided(POD, peer, pod), None, "it is implied");
    }
    for (peer, pod, fate) in [
        (
            "10.2.0.9:1",
            "10.1.0.5:9100",
            Fate::goes_on().counted("excluded_port"),
        ),
        ("10.2.0.9:1", "10.1.0.6:80", Fate::goes_on()),
        ("10.2.0.9:1", "10.7.7.7:80", Fate::goes_on()),
    ] {
        assert_eq!(scene.judge(IN, &packet(peer, pod)), fate, "{pod}");
    }
}

#[test]
fn only_ztunnels_tag_gets_past_capture() {
    let mut scene = scene("steer_tag");
    let (peer, pod) = ("10.2.0.9:50000", "10.1.0.5:80");
    let from = |source| from_mac(packet(peer, pod), source);
    assert_eq!(scene.judge(IN, &from(tag(SERVED))), Fate::goes_on());
    let captured = Fate::redirected(STEERED_MAC, tag(INBOUND)).counted("inbound");
    assert_eq!(
        scene.judge(IN, &from(STEERED_MAC)),
        captured,
        "everybody may send from ztunnel's address"
    );
    for forged in [tag(OUTBOUND), tag(INBOUND), of_other_secret(SERVED)] {
        assert_eq!(scene.judge(IN, &from(forged)), Fate::dropped("forged_tag"));
    }
}

#[test]
fn a_probe_that_was_noted_passes_as_long_as_the_note_lives() {
    let mut scene = scene("steer_probe");
    let (peer, pod) = ("10.1.0.1:50000", "10.1.0.5:80");
    let flow = Flow {
        netns: POD,
        source: address("10.1.0.1"),
        destination: address(POD_V4),
        source_port: 50000,
        destination_port: 80,
        reserved: 0,
    };
    let mut passes = scene.maps.passes().unwrap();
    for (expiry, fate) in [
        (u64::MAX, Fate::goes_on().counted("probe")),
        (1, Fate::redirected(STEERED_MAC, tag(INBOUND)).counted("inbound")),
    ] {
        passes.insert(flow, expiry, 0).unwrap();
        assert_eq!(scene.judge(IN, &packet(peer, pod)), fate);
    }
}

#[test]
fn what_ztunnel_sends_to_such_a_pod_is_tagged_and_finds_it() {
    let mut scene = scene("steer_back");
    let back = || addressed(POD_MAC, tag(SERVED));
    for (peer, pod) in [
        ("10.2.0.9:50000", "10.1.0.5:80"),
        ("[fd02::9]:50000", "[fd01::5]:80"),
        ("10.1.0.6:50000", "10.1.0.5:80"),
    ] {
        let frame = from_mac(packet(peer, pod), STEERED_MAC);
        assert_eq!(scene.judge(BACK, &frame), back().counted("to_application"));
        let answer = scene.judge(OUT, &packet(pod, peer).flags(SYN | ACK));
        assert_eq!(answer, addressed(STEERED_MAC, tag(OUTBOUND)));
        assert_eq!(scene.judge(BACK, &frame.clone().flags(SYN | ACK)), back());
    }
    let others = packet("10.2.0.9:50000", "10.9.9.9:80");
    assert_eq!(scene.judge(BACK, &others), Fate::goes_on());
    let udp = packet("10.2.0.9:50000", "10.1.0.5:80").protocol(17);
    assert_eq!(scene.judge(BACK, &udp), Fate::goes_on());
}

#[test]
fn answers_to_what_ztunnel_sends_in_the_pods_name_are_its_own() {
    let mut scene = scene("steer_name");
    let (pod, peer) = ("10.1.0.5:50000", "10.2.0.9:80");
    let frame = from_mac(packet(pod, peer), STEERED_MAC);
    assert_eq!(scene.judge(BACK, &frame), Fate::goes_on().counted("from_ztunnel"));
    scene.set_pod(PodEntry::DRAINING);
    let answer = packet(peer, pod).flags(SYN | ACK);
    assert_eq!(
        scene.judge(IN, &answer),
        Fate::redirected(STEERED_MAC, tag(INBOUND)),
        "even if the pod has left the mesh since"
    );
}

#[test]
fn a_tunnel_between_two_such_pods_is_turned_back() {
    let mut scene = scene("steer_hairpin");
    for (from, to) in [
        ("10.1.0.5:50000", "10.1.0.6:15008"),
        ("[fd01::5]:50000", "[fd01::6]:15008"),
    ] {
        let frame = |from, to| from_mac(packet(from, to), STEERED_MAC);
        let back = || Fate::redirected(STEERED_MAC, tag(INBOUND));
        assert_eq!(scene.judge(BACK, &frame(from, to)), back().counted("hairpin"));
        assert_eq!(scene.judge(BACK, &frame(to, from).flags(SYN | ACK)), back());
    }
    assert_eq!(scene.decided(OTHER, "10.1.0.5:50000", "10.1.0.6:15008"), None);
    assert_eq!(
        scene.own.count(OTHER, Reason::Hairpin),
        2,
        "of the pod that it is for"
    );
}

#[test]
fn nothing_for_ztunnel_leaves_the_node() {
    let mut scene = scene("steer_fence");
    let plain = packet("10.1.0.5:40000", "10.2.0.9:80");
    assert_eq!(scene.judge(FENCE, &plain), Fate::goes_on());
    for direction in [OUTBOUND, INBOUND, SERVED] {
        let frame = from_mac(plain.clone(), of_other_secret(direction));
        assert_eq!(scene.judge(FENCE, &frame), Fate::dropped("fenced"));
    }
    let mut bytes = plain.build();
    bytes[..6].copy_from_slice(&STEERED_MAC);
    assert_eq!(scene.judge_bytes(FENCE, &bytes, 0), Fate::dropped("fenced"));
}
