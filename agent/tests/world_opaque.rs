//! A ztunnel that does not show applications their clients' addresses (`ENABLE_ORIG_SRC=false`) does not make its
//! listeners transparent either. Captured connections reach it all the same.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on says so by a panic; each uses its part of what tests share"
)]

mod enrolled;
mod own_datapath;
#[path = "support/serve.rs"]
mod serve;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use enrolled::Pod;
use own_datapath::OwnDatapath;
use socket2::SockRef;
use weir_agent::enroll::Enroller;
use weir_agent::enroll::filters::Filters;
use weir_agent::enroll::listeners::Repaired;
use weir_common::mark;
use weir_netdetect::choose::Contract;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Direction, Proxy, Record};
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};

const PORT: u16 = 8080;

fn mesh(name: &str) -> Mesh {
    Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .without_original_source()
        .start()
        .unwrap()
}

fn serve_at(netns: &Netns, address: IpAddr) -> Server {
    serve::serve(netns, &ServerSpec::new("server", SocketAddr::new(address, PORT)))
}

fn exchange(netns: &Netns, to: IpAddr) -> Exchange {
    let spec = ClientSpec::to(SocketAddr::new(to, PORT)).deadline(PATIENCE);
    Client::exchange(netns, &spec).unwrap()
}

/// The proxy says itself that it took the connection, and where it was to go.
fn took(proxy: &Proxy, direction: Direction, seen: &Exchange, to: IpAddr) {
    let wanted = |record: &Record| record.direction == direction && record.peer == Some(seen.local);
    let record = proxy.wait_for(PATIENCE, wanted).unwrap();
    // ztunnel does not log it for all of its connections.
    let to = SocketAddr::new(to, PORT);
    assert_eq!(record.original_destination.unwrap_or(to), to);
}

/// Out of the pod, between pods and into a pod, in both families.
fn everything_is_captured(mesh: &Mesh, proxy: &Proxy) {
    let (client, server, remote) = (mesh.pod("client"), mesh.pod("server"), &mesh.world.remote);
    for to in remote.addresses.iter() {
        let _server = serve_at(&remote.netns, to);
        let seen = exchange(&client.netns, to);
        took(proxy, Direction::Outbound, &seen, to);
        assert_eq!(seen.server.peer.ip(), seen.local.ip(), "the pod's own address");
        assert_ne!(seen.server.peer.port(), seen.local.port());
    }
    for to in server.addresses().iter() {
        let _server = serve_at(&server.netns, to);
        let seen = exchange(&client.netns, to);
        took(proxy, Direction::Outbound, &seen, to);
        let seen = exchange(&remote.netns, to);
        took(proxy, Direction::Inbound, &seen, to);
        assert_eq!(seen.server.peer.ip(), to, "the proxy shows its own address");
    }
}

#[test]
fn captured_connections_reach_listeners_that_are_not_transparent() {
    let mut mesh = mesh("opaque");
    everything_is_captured(&mesh, &mesh.proxy);
    let verified = mesh.agent.run("verify", &[]).unwrap();
    assert!(verified.status.success(), "{verified:?}");
    mesh.proxy.restart().unwrap();
    mesh.proxy.wait_ready(PATIENCE).unwrap();
    everything_is_captured(&mesh, &mesh.proxy);
    let newer = mesh.another_proxy(None).unwrap();
    newer.wait_ready(PATIENCE).unwrap();
    everything_is_captured(&mesh, &newer);
    drop(newer);
    mesh.agent.kill();
    mesh.agent.restart().unwrap();
    mesh.settled().unwrap();
    everything_is_captured(&mesh, &mesh.proxy);
}

#[test]
fn a_listener_that_cannot_be_reached_is_named() {
    let (own, pod) = (OwnDatapath::new("unreachable"), Pod::new());
    let enroller = Enroller::new(Arc::clone(&own.datapath), 0);
    enroller
        .enroll(
            pod.netns.as_fd(),
            pod.cookie,
            (Contract::InPod, &Filters::default()),
            None,
            &mut None,
        )
        .unwrap();
    let listener = pod.netns.run(|| TcpListener::bind("[::]:15001")).unwrap();
    let repair = |process| enroller.repair_listeners(pod.netns.as_fd(), pod.cookie, &[process]);
    // What has no mark of ztunnel's is not even looked for among its descriptors.
    for process in [0, own_process()] {
        assert_eq!(repair(process).unwrap(), Repaired::Nothing);
    }
    SockRef::from(&listener).set_mark(mark::ZTUNNEL).unwrap();
    // What belongs to no ztunnel is left alone.
    let stranger = own_process() + 1_000_000_000;
    repair(stranger).unwrap();
    assert!(!is_transparent(&listener));
    // Process 0 is a ztunnel that the agent cannot see.
    let told = repair(0).unwrap_err().to_string();
    for part in ["port 15001", "ENABLE_ORIG_SRC", "hostPID"] {
        assert!(told.contains(part), "{told}");
    }
    repair(own_process()).unwrap();
    assert!(is_transparent(&listener));
}

fn own_process() -> u32 {
    std::process::id()
}

fn is_transparent(listener: &TcpListener) -> bool {
    SockRef::from(listener).ip_transparent_v4().unwrap()
}
