//! Virtual machines in a pod: their connections are the pod's.

use std::net::SocketAddr;
use std::process::Command;

use ipnetwork::IpNetwork;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::link::Device;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::route::Route;
use weir_testbeds::traffic::ClientSpec;
use weir_testbeds::world::Wiring;

use crate::scene::{PORT, assert_outbound, builder, captured_soon, remote, serve, serve_remote};

on_every_wiring! {
    machines_of_a_pod,
}

const ANNOTATION: &str = "istio.io/reroute-virtual-interfaces";
const INNER: &str = "vm0";
/// The pod's end of the machine's network, and the machine's.
const NETWORKS: [[&str; 2]; 2] = [["10.0.2.1/24", "10.0.2.2/24"], ["fd02::1/64", "fd02::2/64"]];

/// Nobody but the pod knows the machine's address: only by way of ztunnel, which has the pod's, do answers come back.
fn machines_of_a_pod(wiring: Wiring) {
    let mesh = builder("machine", wiring)
        .annotate("client", ANNOTATION, INNER)
        .start()
        .unwrap();
    let _remote = serve_remote(&mesh);
    let members = mesh.pod("server").addresses().iter();
    let members: Vec<_> = members.map(|address| SocketAddr::new(address, PORT)).collect();
    let _members: Vec<_> = members
        .iter()
        .map(|at| serve(&mesh.pod("server").netns, *at))
        .collect();
    // It is started when the pod is in the mesh already.
    let machine = machine_in(&mesh.pod("client").netns);
    for to in remote(&mesh).chain(members) {
        let seen = captured_soon(&machine, &ClientSpec::to(to));
        assert_outbound(&mesh, &seen, to);
        let pod = mesh.address("client", to.ip()).unwrap();
        assert_eq!(seen.server.peer.ip(), pod, "who the server believes asks");
    }
}

/// Until then ztunnel's listener spoke by loopback alone, and it does again afterwards.
#[test]
fn a_pod_is_told_of_its_machines_while_it_runs() {
    let mut mesh = builder("machine-later", Wiring::PointToPoint).start().unwrap();
    let _remote = serve_remote(&mesh);
    let pod = mesh.pod("client").netns.clone();
    let machine = machine_in(&pod);
    captured(&mesh, &pod);
    wait_until_outbound_listens(&pod, "%lo:15001");
    mesh.change("client", |line| line.annotate(ANNOTATION, INNER))
        .unwrap();
    wait_until_outbound_listens(&pod, "*:15001");
    captured(&mesh, &machine);
    captured(&mesh, &pod);
    mesh.change("client", |line| line.forget(ANNOTATION)).unwrap();
    wait_until_outbound_listens(&pod, "%lo:15001");
    captured(&mesh, &pod);
}

fn captured(mesh: &Mesh, netns: &Netns) {
    for to in remote(mesh) {
        let seen = captured_soon(netns, &ClientSpec::to(to));
        assert_outbound(mesh, &seen, to);
    }
}

fn wait_until_outbound_listens(pod: &Netns, at: &str) {
    let listening = || {
        let listed = pod.run(|| Command::new("ss").args(["-Htln"]).output().unwrap());
        String::from_utf8(listed.stdout).unwrap()
    };
    let listens = eventually(PATIENCE, || listening().contains(at).then_some(()));
    assert!(listens.is_ok(), "at {at}: {}", listening());
}

/// A machine behind an interface of the pod.
fn machine_in(pod: &Netns) -> Netns {
    let machine = Netns::new().unwrap();
    let (inner, outer) = (Device::named(INNER), Device::named("eth0"));
    pod.netlink(async |link| link.add_veth(&inner, &outer, &machine).await)
        .unwrap();
    for [pods, machines] in NETWORKS {
        give(pod, INNER, pods);
        give(&machine, "eth0", machines);
        let gateway: IpNetwork = pods.parse().unwrap();
        let route = Route::default_via(gateway.ip());
        machine
            .netlink(async |link| link.add_route(&route).await)
            .unwrap();
    }
    machine
}

fn give(netns: &Netns, interface: &str, address: &str) {
    let address = address.parse().unwrap();
    netns
        .netlink(async |link| {
            link.up(interface).await?;
            link.add_address(interface, address).await
        })
        .unwrap();
}
