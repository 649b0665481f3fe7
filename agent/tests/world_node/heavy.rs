//! Much at once: large packets, many bytes, many connections.

use std::process::Command;

use weir_testbeds::capture::Capture;
use weir_testbeds::mesh::{Mesh, ZTUNNEL};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::ProxyKind;
use weir_testbeds::traffic::{Client, ClientSpec};
use weir_testbeds::world::Wiring;

use crate::life::count;
use crate::scene::{builder, of_pod, of_remote, serve};

on_every_wiring! {
    jumbo_frames_and_merged_packets_arrive_unaltered,
    usual_frames_and_merged_packets_arrive_unaltered,
    a_thousand_connections_are_open_at_once,
}
on_wiring!(
    macvlan,
    MacvlanBridge,
    jumbo_frames_and_merged_packets_arrive_unaltered,
    usual_frames_and_merged_packets_arrive_unaltered
);

const JUMBO: u32 = 9000;
const USUAL: u32 = 1500;

/// As machines have them: the kernel cuts large packets late, and merges what arrives.
fn offload(netns: &Netns) {
    let interfaces = netns.netlink(async |netlink| netlink.interfaces().await).unwrap();
    for interface in interfaces.iter().filter(|interface| interface.mac.is_some()) {
        let mut ethtool = Command::new("ethtool");
        ethtool.args(["-K", &interface.name]);
        ethtool.args(["tso", "on", "gso", "on", "gro", "on"]);
        let output = netns.run(|| ethtool.output()).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // A bridge and loopback have no choice of their own in some of them.
        assert!(
            output.status.success() || interface.name == "lo" || interface.name == "cni0",
            "{}: {said}",
            interface.name
        );
    }
}

fn mesh(name: &str, wiring: Wiring, mtu: u32) -> Mesh {
    let kind = ProxyKind::stand_in().unwrap();
    let mesh = builder(name, wiring).mtu(mtu).proxy_kind(kind).start().unwrap();
    let pods = ["client", "server", ZTUNNEL].map(|pod| &mesh.pod(pod).netns);
    let hosts = [&mesh.world.node.netns, &mesh.world.remote.netns];
    pods.into_iter().chain(hosts).for_each(offload);
    mesh
}

fn transfer(mesh: &Mesh, bytes: u64) {
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    for to in of_remote(mesh).into_iter().chain(of_pod(mesh, "server")) {
        let mut connection = Client::connect(&mesh.pod("client").netns, &ClientSpec::to(to)).unwrap();
        connection.bulk(bytes).unwrap();
    }
    for to in of_pod(mesh, "server") {
        let mut connection = Client::connect(&mesh.world.remote.netns, &ClientSpec::to(to)).unwrap();
        connection.bulk(bytes).unwrap();
    }
}

fn jumbo_frames_and_merged_packets_arrive_unaltered(wiring: Wiring) {
    merged_packets_arrive_unaltered("node-jumbo", wiring, JUMBO);
}

fn usual_frames_and_merged_packets_arrive_unaltered(wiring: Wiring) {
    merged_packets_arrive_unaltered("node-usual", wiring, USUAL);
}

fn merged_packets_arrive_unaltered(name: &str, wiring: Wiring, mtu: u32) {
    let mesh = mesh(name, wiring, mtu);
    let arriving = Capture::start(mesh.proxy_netns(), "eth0").unwrap();
    transfer(&mesh, 16 << 20);
    let largest = arriving
        .segments()
        .into_iter()
        .filter(|segment| !segment.outgoing)
        .map(|segment| segment.payload)
        .max();
    assert!(largest > Some(mtu as usize), "nothing was merged: {largest:?}");
}

/// Six connections of 1 GiB there and back, of either MTU.
#[test]
#[ignore = "takes minutes: `cargo test --release -p weir-agent --test world_node -- --ignored gigabytes`"]
fn gigabytes_arrive_unaltered() {
    for (wiring, mtu) in [(Wiring::Bridge, JUMBO), (Wiring::PointToPoint, USUAL)] {
        transfer(&mesh("node-gigabytes", wiring, mtu), 1 << 30);
    }
}

fn a_thousand_connections_are_open_at_once(wiring: Wiring) {
    let mesh = mesh("node-thousand", wiring, USUAL);
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    let client = &mesh.pod("client").netns;
    let targets: Vec<_> = of_remote(&mesh)
        .into_iter()
        .chain(of_pod(&mesh, "server"))
        .collect();
    let mut open: Vec<_> = (0..1000 / targets.len())
        .flat_map(|_| &targets)
        .map(|to| Client::connect(client, &ClientSpec::to(*to)).unwrap())
        .collect();
    assert_eq!(open.len(), 1000);
    for connection in &mut open {
        connection.exchange(b"all at once").unwrap();
    }
    assert_eq!(count(&mesh, "client", "outbound"), 1000);
}
