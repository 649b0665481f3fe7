//! What CPUs keep of connections and addresses counts no longer than it is true.

use std::net::{TcpListener, TcpStream};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use weir_common::flow::Decided;
use weir_common::mark;
use weir_testbeds::packet::{ACK, Packet};

use crate::scene::{
    DROP, Fate, GATEWAY, OLD_ZTUNNEL_MAC, OTHER_MAC, OTHER_V4, POD, POD_MAC, Scene, ZTUNNEL_MAC, from_mac,
    packet, tag,
};

const OUT: &str = "weir_pod_out";
const FROM_ZTUNNEL: &str = "weir_ztunnel_out";
const IN: &str = "weir_ztunnel_in";

const POD_END: &str = "10.1.0.5:40000";
const PEER_END: &str = "10.2.0.9:80";

/// More than there are places for connections, so that some share one.
const MANY: u16 = 1200;

/// Programs run on this CPU, of those that this process may use, as long as there are so many.
fn on_cpu(number: usize) {
    let myself = Pid::from_raw(0);
    let allowed = sched_getaffinity(Pid::parent()).unwrap();
    let usable: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap())
        .collect();
    let mut only = CpuSet::new();
    only.set(usable[number % usable.len()]).unwrap();
    sched_setaffinity(myself, &only).unwrap();
}

#[test]
fn what_is_decided_on_one_cpu_counts_on_all() {
    let mut scene = Scene::new("recent_cpus");
    let (syn, ack) = (packet(POD_END, PEER_END), packet(POD_END, PEER_END).flags(ACK));
    on_cpu(0);
    scene.judge(OUT, &syn);
    for _ in 0..2 {
        assert_eq!(scene.judge(OUT, &ack), Fate::redirected(ZTUNNEL_MAC, tag(1)));
    }
    on_cpu(1);
    scene.set_contract(0, 0);
    scene.judge(OUT, &syn);
    on_cpu(0);
    assert_eq!(scene.judge(OUT, &ack), Fate::redirected(OLD_ZTUNNEL_MAC, tag(1)));
}

#[test]
fn connections_that_share_a_place_are_not_taken_for_each_other() {
    let mut scene = Scene::new("recent_places");
    on_cpu(0);
    let end = |port| format!("10.1.0.5:{port}");
    for port in 0..MANY {
        scene.decide(POD, PEER_END, &end(port), Decided::CAPTURED, u32::from(port % 2));
    }
    // Checked, kept, and found or replaced by another.
    for _ in 0..3 {
        for port in 0..MANY {
            let mac = [OLD_ZTUNNEL_MAC, ZTUNNEL_MAC][usize::from(port % 2)];
            let ack = packet(&end(port), PEER_END).flags(ACK);
            assert_eq!(scene.addressed_to(OUT, &ack), mac, "port {port}");
        }
    }
}

#[test]
fn addresses_that_share_a_place_are_not_taken_for_each_other() {
    let mut scene = Scene::new("recent_addresses");
    on_cpu(0);
    for _ in 0..2 {
        for last in 1..=255 {
            for third in 0..3 {
                let stranger = format!("10.9.{third}.{last}:80");
                let mut to = |from: &str, to: &str| {
                    let ack = packet(from, to).flags(ACK);
                    scene.addressed_to(FROM_ZTUNNEL, &ack)
                };
                assert_eq!(to(POD_END, &stranger), GATEWAY, "in the pod's name");
                assert_eq!(to(&stranger, "10.1.0.6:80"), OTHER_MAC, "into the pod");
                assert_eq!(to(&stranger, "10.8.0.1:80"), [2, 0, 0, 0, 0, 1], "neither");
            }
        }
    }
}

#[test]
fn an_address_that_comes_or_goes_is_noticed() {
    let mut scene = Scene::new("recent_address");
    on_cpu(0);
    let ack = packet(PEER_END, "10.1.0.6:80").flags(ACK);
    let entered = Fate::redirected(OTHER_MAC, GATEWAY);
    assert_eq!(scene.judge(FROM_ZTUNNEL, &ack), entered);
    scene.set_local(OTHER_V4, |pod| pod.mac = POD_MAC);
    assert_eq!(
        scene.judge(FROM_ZTUNNEL, &ack),
        Fate::redirected(POD_MAC, GATEWAY)
    );
    scene.take_address(OTHER_V4);
    assert_eq!(scene.judge(FROM_ZTUNNEL, &ack), Fate::goes_on());
}

/// Its last packets may come late; those of the next one between the same ends are for a listener.
#[test]
fn a_connection_that_begins_anew_is_no_more_the_one_that_ztunnel_had() {
    let mut scene = Scene::new("recent_socket");
    on_cpu(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (own, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    scene.set_address(&own.ip().to_string());
    let syn = || packet(&own.to_string(), &peer.to_string());
    let tagged = |packet: Packet| from_mac(packet, tag(1));
    let led = Fate::goes_on().mark(mark::TO_ZTUNNEL);
    for _ in 0..2 {
        assert_eq!(scene.judge(IN, &tagged(syn().flags(ACK))), led);
    }
    drop((client, listener));
    for packet in [syn(), syn().flags(ACK)] {
        let fate = scene.judge(IN, &tagged(packet));
        assert_eq!((fate.verdict, fate.counted), (DROP, vec!["no_listener"]));
    }
}
