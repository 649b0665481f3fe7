//! What ztunnel sends, and what is sent to it.

use std::net::{SocketAddr, TcpListener, TcpStream};

use weir_common::flow::Decided;
use weir_common::local_pod::LocalPod;
use weir_common::mark;
use weir_testbeds::packet::{ACK, SYN};

use crate::scene::{
    DROP, Fate, GATEWAY, OTHER, OTHER_MAC, POD_MAC, Scene, ZTUNNEL_MAC, from_mac, packet, tag,
};

const OUT: &str = "weir_ztunnel_out";
const IN: &str = "weir_ztunnel_in";
const GATE: &str = "weir_ztunnel_gate";

#[test]
fn in_a_pods_name_ztunnel_speaks_from_the_pods_interface() {
    let mut scene = Scene::new("zout");
    for (pod, peer) in [
        ("10.1.0.5:40000", "10.2.0.9:80"),
        ("[fd01::5]:40000", "[fd02::9]:15008"),
    ] {
        let spoken = Fate::redirected(GATEWAY, POD_MAC).mark(mark::BYPASS);
        assert_eq!(
            scene.judge(OUT, &packet(pod, peer)),
            spoken.counted("from_ztunnel")
        );
        let answer = scene.judge("weir_pod_in", &packet(peer, pod).flags(SYN | ACK));
        assert_eq!(answer, Fate::redirected(ZTUNNEL_MAC, tag(2)).mark(mark::TAGGED));
    }
    scene.set_local("10.1.0.5", |pod| pod.flags |= LocalPod::ON_ZTUNNELS_BRIDGE);
    let bridged = packet("10.1.0.5:40000", "10.2.0.9:80").flags(ACK);
    let fate = scene.judge(OUT, &bridged);
    assert_eq!(
        fate.frame.unwrap(),
        ([2, 0, 0, 0, 0, 1], POD_MAC),
        "the next hop is ztunnel's choice"
    );
}

#[test]
fn what_ztunnel_sends_to_a_pod_goes_straight_in() {
    let mut scene = Scene::new("zin");
    for (peer, pod) in [
        ("10.2.0.9:50000", "10.1.0.6:80"),
        ("[fd02::9]:50000", "[fd01::6]:80"),
        ("10.1.0.5:50000", "10.1.0.6:80"),
        ("10.1.0.9:50000", "10.1.0.6:80"),
    ] {
        let entered = Fate::redirected(OTHER_MAC, GATEWAY);
        assert_eq!(
            scene.judge(OUT, &packet(peer, pod)),
            entered.counted("to_application")
        );
        let decided = scene.decided(OTHER, peer, pod).unwrap();
        assert_eq!((decided.what, decided.ztunnel), (Decided::CAPTURED, 1));
    }
}

#[test]
fn a_tunnel_between_two_pods_of_the_node_is_turned_back() {
    let mut scene = Scene::new("hairpin");
    let own = [2, 0, 0, 0, 0, 2];
    let back = || Fate::redirected(own, tag(2)).mark(mark::TAGGED);
    for (from, to) in [
        ("10.1.0.5:50000", "10.1.0.6:15008"),
        ("[fd01::5]:50000", "[fd01::6]:15008"),
    ] {
        assert_eq!(scene.judge(OUT, &packet(from, to)), back().counted("hairpin"));
        assert_eq!(scene.judge(OUT, &packet(to, from).flags(SYN | ACK)), back());
    }
    let (own_end, pod) = ("10.1.0.9:50000", "10.1.0.6:15008");
    assert_eq!(
        scene.judge(OUT, &packet(own_end, pod)),
        back().counted("hairpin"),
        "from ztunnel's own address"
    );
    let answer = packet("10.1.0.9:15008", "10.1.0.6:50000").flags(SYN | ACK);
    assert_eq!(
        scene.judge(OUT, &answer),
        Fate::redirected(OTHER_MAC, GATEWAY),
        "a pod's own connection to ztunnel"
    );
}

#[test]
fn ztunnels_own_traffic_goes_on() {
    let mut scene = Scene::new("zown");
    for (from, to) in [
        ("10.1.0.9:50000", "10.2.0.9:80"),
        ("10.2.0.9:80", "10.3.0.1:50000"),
    ] {
        assert_eq!(scene.judge(OUT, &packet(from, to)), Fate::goes_on());
    }
}

#[test]
fn only_what_was_tagged_here_gets_to_ztunnel() {
    let mut scene = Scene::new("gate");
    let plain = packet("10.1.0.5:40000", "10.2.0.9:80");
    for direction in [1, 2, 3] {
        for mac in [tag(direction), [2, 10, direction, 0, 0, 0]] {
            let frame = from_mac(plain.clone(), mac);
            assert_eq!(scene.judge(GATE, &frame), Fate::dropped("forged_tag"));
            let fate = scene.judge_bytes(GATE, &frame.build(), mark::TAGGED);
            assert_eq!(fate, Fate::goes_on().mark(mark::TAGGED));
        }
    }
    assert_eq!(scene.judge(GATE, &plain), Fate::goes_on());
    assert_eq!(
        scene.judge(GATE, &from_mac(plain, [2, 10, 4, 1, 2, 3])),
        Fate::goes_on()
    );
}

#[test]
fn ztunnels_side_takes_only_tagged_frames_of_enrolled_pods() {
    let mut scene = Scene::new("take");
    let out = packet("10.1.0.5:40000", "10.2.0.9:80");
    let inward = packet("10.2.0.9:50000", "10.1.0.5:80");
    assert_eq!(scene.judge(IN, &out), Fate::goes_on(), "no tag");
    for forged in [
        from_mac(out.clone(), [2, 10, 1, 0, 0, 0]),
        from_mac(inward.clone(), tag(1)),
        from_mac(out.clone(), tag(2)),
        from_mac(packet("10.7.7.7:1", "10.2.0.9:80"), tag(1)),
        from_mac(packet("10.1.0.9:1", "10.2.0.9:80"), tag(1)),
    ] {
        assert_eq!(scene.judge(IN, &forged), Fate::dropped("forged_tag"));
    }
    // The test's own netns has no listener of ztunnel.
    for taken in [from_mac(out, tag(1)), from_mac(inward, tag(2))] {
        let fate = scene.judge(IN, &taken);
        assert_eq!((fate.verdict, fate.counted), (DROP, vec!["no_listener"]));
    }
}

/// Whose it is was checked when it began; a listener has no part in it.
#[test]
fn what_belongs_to_an_open_connection_is_led_to_local_delivery() {
    let mut scene = Scene::new("open");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (own, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let sent = |from: SocketAddr, to: SocketAddr| {
        let packet = packet(&from.to_string(), &to.to_string()).flags(ACK);
        from_mac(packet, tag(1))
    };
    let led = Fate::goes_on().mark(mark::TO_ZTUNNEL);
    assert_eq!(scene.judge(IN, &sent(own, peer)), led);
    let another = SocketAddr::new(own.ip(), 1);
    assert_eq!(scene.judge(IN, &sent(another, peer)), Fate::dropped("forged_tag"));
}

/// ztunnel has a socket for what it has asked for itself, so nobody looks for it when the answer comes.
#[test]
fn answers_to_what_ztunnel_has_asked_for_are_led_to_local_delivery() {
    let mut scene = Scene::new("asked");
    let led = Fate::goes_on().mark(mark::TO_ZTUNNEL);
    for (from, to, answer_by) in [
        ("10.1.0.5:40000", "10.2.0.9:80", 2),
        ("[fd01::5]:40000", "[fd02::9]:80", 2),
        ("10.2.0.9:50000", "10.1.0.6:80", 1),
        ("[fd02::9]:50000", "[fd01::6]:80", 1),
    ] {
        let answer = from_mac(packet(to, from).flags(SYN | ACK), tag(answer_by));
        let fate = scene.judge(IN, &answer);
        assert_eq!(fate.counted, ["no_listener"], "nobody has asked {to}");
        scene.judge(OUT, &packet(from, to));
        assert_eq!(scene.judge(IN, &answer), led, "{from} to {to}");
    }
}

#[test]
fn redirected_fragments_and_complaints_are_led_to_local_delivery() {
    let mut scene = Scene::new("led");
    let later = packet("10.1.0.5:40000", "10.2.0.9:80").fragment(3, true);
    let led = Fate::goes_on().mark(mark::TO_ZTUNNEL);
    assert_eq!(scene.judge(IN, &from_mac(later, tag(1))), led);
    let icmp = packet("10.2.0.1:1", "10.1.0.5:1").protocol(1);
    assert_eq!(scene.judge(IN, &from_mac(icmp, tag(2))), led);
}
