//! Pods on veth, pods on macvlan, and pods with both, at once, on a node whose ztunnel has both too.

use std::net::{IpAddr, SocketAddr};

use weir_testbeds::capture::{Capture, Frame};
use weir_testbeds::mesh::{Mesh, ZTUNNEL};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Direction, ProxyKind, Record};
use weir_testbeds::traffic::Exchange;
use weir_testbeds::world::{Family, Host, Wiring};

use crate::narrow::{FAR, WIDE, beyond};
use crate::scene::{PORT, assert_captured, assert_detoured, exchange, serve};

const PODS: [&str; 3] = ["veth", "macvlan", "both"];

fn mesh(name: &str, outbound: &str) -> Mesh {
    Mesh::builder(name)
        .family(Family::Dual)
        .wiring(Wiring::PointToPoint)
        .enrolled("veth")
        .enrolled("both")
        .wiring(Wiring::MacvlanBridge)
        .enrolled("macvlan")
        .ztunnel_outside(Wiring::PointToPoint)
        .interface("both", "net1", Wiring::MacvlanBridge)
        .interface(ZTUNNEL, "net1", Wiring::MacvlanBridge)
        .flag("--macvlan-outbound")
        .flag(outbound)
        .proxy_kind(ProxyKind::stand_in().unwrap())
        .start()
        .unwrap()
}

fn addresses(mesh: &Mesh, pod: &str) -> Vec<IpAddr> {
    let attachments = mesh.pod(pod).attachments();
    attachments
        .flat_map(|attachment| attachment.addresses.iter())
        .collect()
}

/// The connection went through ztunnel; where it was made to it in the first place the server sees ztunnel.
fn assert_left(mesh: &Mesh, seen: &Exchange, detoured: bool) -> Record {
    if !detoured {
        return assert_captured(mesh, Direction::Outbound, seen);
    }
    assert_detoured(mesh, seen)
}

fn everybody_meets(outbound: &str) {
    let mesh = mesh(&format!("node-mixed-{outbound}"), outbound);
    let beyond = beyond(&mesh.world.remote, WIDE);
    let world: Vec<(&Netns, Vec<IpAddr>)> = vec![
        (
            &mesh.world.remote.netns,
            mesh.world.remote.addresses.iter().collect(),
        ),
        (&beyond.far, FAR.map(|address| address.parse().unwrap()).to_vec()),
    ];
    let _servers: Vec<_> = world.iter().map(|(netns, _)| serve(netns)).collect();
    let _applications = PODS.map(|pod| serve(&mesh.pod(pod).netns));
    let leaving = Capture::start(&mesh.world.node.netns, &mesh.world.node.interface).unwrap();
    for pod in PODS {
        let netns = &mesh.pod(pod).netns;
        let detoured = outbound == "socket" && pod == "macvlan";
        for to in world.iter().flat_map(|(_, addresses)| addresses) {
            let seen = exchange(netns, SocketAddr::new(*to, PORT));
            assert_left(&mesh, &seen, detoured);
            let syns = leaving.tcp_syns();
            assert!(
                syns.iter().all(|syn| !syn.outgoing || syn.source != seen.local),
                "{pod}'s own SYN has left the node"
            );
        }
        for to in PODS
            .iter()
            .filter(|other| **other != pod)
            .flat_map(|other| addresses(&mesh, other))
        {
            let seen = exchange(netns, SocketAddr::new(to, PORT));
            assert_left(&mesh, &seen, detoured);
        }
        for (netns, _) in &world {
            for to in addresses(&mesh, pod) {
                let seen = exchange(netns, SocketAddr::new(to, PORT));
                assert_captured(&mesh, Direction::Inbound, &seen);
            }
        }
    }
    let veth: Vec<IpAddr> = mesh.pod("veth").addresses().iter().collect();
    assert_in_the_way(&mesh.world.node, &leaving.frames(), &veth);
}

/// Its policies and counters are there.
fn assert_in_the_way(node: &Host, frames: &[Frame], veth: &[IpAddr]) {
    let named = |frame: &&Frame| {
        let of_veth = frame.ip.is_some_and(|(source, _)| veth.contains(&source));
        frame.outgoing && frame.tcp.is_some() && of_veth
    };
    let named: Vec<_> = frames.iter().filter(named).collect();
    assert!(!named.is_empty());
    let past = named.iter().find(|frame| frame.source != Some(node.mac));
    assert_eq!(past, None, "went past the node");
}

#[test]
fn everybody_meets_where_connections_are_made_to_ztunnel() {
    everybody_meets("socket");
}

#[test]
fn everybody_meets_where_frames_are_steered_to_ztunnel() {
    everybody_meets("steer");
}
