//! ztunnel is gone: nothing new gets through, in or out, and nothing leaves in clear. When it is back, all goes on.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on says so by a panic; each uses its part of what tests share"
)]

#[path = "support/serve.rs"]
mod serve;
#[path = "support/tally.rs"]
mod tally;
#[path = "support/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use tally::Tally;
use weir_common::reason::Reason;
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Cause, Client, ClientSpec, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};
use wire::Wire;

const PORT: u16 = 8080;

fn mesh(name: &str) -> Mesh {
    Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .start()
        .unwrap()
}

fn serve(netns: &Netns, at: SocketAddr) -> Server {
    serve::serve(netns, &ServerSpec::new("server", at))
}

/// The kernel refuses what finds no listener where it can, and is silent where it cannot.
fn assert_stopped(netns: &Netns, to: SocketAddr) {
    let spec = ClientSpec::to(to).deadline(Duration::from_millis(1500));
    let failure = Client::exchange(netns, &spec).expect_err("it got through without ztunnel");
    assert!(
        matches!(failure.cause, Cause::TimedOut | Cause::Refused),
        "{failure}"
    );
}

fn at_port(addresses: impl Iterator<Item = std::net::IpAddr>) -> Vec<SocketAddr> {
    addresses.map(|address| SocketAddr::new(address, PORT)).collect()
}

#[test]
fn nothing_leaves_a_pod_whose_ztunnel_is_gone() {
    let mut mesh = mesh("gone-outbound");
    mesh.proxy.kill();
    let tally = Tally::of(&mesh, "client");
    let wire = Wire::of(mesh.pod("client"));
    for to in at_port(
        mesh.world
            .remote
            .addresses
            .iter()
            .chain(mesh.pod("server").addresses().iter()),
    ) {
        let before = tally.count(Reason::NoListener);
        let netns = mesh.pod("client").netns.clone();
        let host = if mesh
            .world
            .remote
            .addresses
            .iter()
            .any(|address| address == to.ip())
        {
            &mesh.world.remote.netns
        } else {
            &mesh.pod("server").netns
        };
        let server = serve(host, to);
        assert_stopped(&netns, to);
        assert!(tally.count(Reason::NoListener) > before);
        assert_eq!(server.connections(), []);
    }
    wire.was_silent();
}

#[test]
fn nothing_enters_a_pod_whose_ztunnel_is_gone() {
    let mut mesh = mesh("gone-inbound");
    mesh.proxy.kill();
    let tally = Tally::of(&mesh, "server");
    for to in at_port(mesh.pod("server").addresses().iter()) {
        let before = tally.count(Reason::NoListener);
        let server = serve(&mesh.pod("server").netns, to);
        let wire = Wire::of(mesh.pod("server"));
        assert_stopped(&mesh.world.remote.netns, to);
        assert!(tally.count(Reason::NoListener) > before);
        assert_eq!(server.connections(), []);
        // The pod says nothing, or no.
        wire.carried_only(|segment| !segment.outgoing || segment.flags.rst);
    }
}

/// The programs at the sockets see nobody: not ztunnel that listens, and not its connections.
#[test]
fn nothing_enters_a_pod_whose_ztunnel_listens_unseen() {
    let hooked = Cgroup::new("hooked").unwrap();
    let mesh = Mesh::builder("unhooked")
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("server")
        .flag("--cgroup")
        .flag(hooked.path().to_str().unwrap())
        .start()
        .unwrap();
    let tally = Tally::of(&mesh, "server");
    for to in at_port(mesh.pod("server").addresses().iter()) {
        let server = serve(&mesh.pod("server").netns, to);
        for known in [true, false] {
            let before = [Reason::Inbound, Reason::NoListener].map(|reason| tally.count(reason));
            if !known {
                tally.forget_listeners();
            }
            let spec = ClientSpec::to(to).deadline(Duration::from_millis(500));
            Client::exchange(&mesh.world.remote.netns, &spec)
                .expect_err("ztunnel's connections are unseen too");
            let counted = [Reason::Inbound, Reason::NoListener].map(|reason| tally.count(reason));
            // Handed over by the agent, the listener has the connection.
            let counts = if known {
                counted[0] > before[0]
            } else {
                counted[1] > before[1]
            };
            assert!(counts, "known: {known}: {before:?} {counted:?}");
            assert_eq!(server.connections(), [], "let through, known: {known}");
        }
        mesh.agent.run("verify", &[]).unwrap();
    }
}

#[test]
fn the_node_still_probes_a_pod_whose_ztunnel_is_gone() {
    let mut mesh = mesh("gone-probe");
    mesh.proxy.kill();
    for to in at_port(mesh.pod("server").addresses().iter()) {
        let _server = serve(&mesh.pod("server").netns, to);
        let seen = Client::exchange(&mesh.world.node.netns, &ClientSpec::to(to)).unwrap();
        assert_eq!(seen.server.peer, seen.local);
    }
}

/// Clients that try again get through as soon as ztunnel is back, wherever it has been started.
#[test]
fn all_goes_on_when_ztunnel_is_back_in_another_cgroup() {
    let mut mesh = mesh("back");
    let remote = mesh.world.remote.clone();
    let server_netns = mesh.pod("server").netns.clone();
    let elsewhere = Cgroup::new("ztunnel-new").unwrap();
    for round in 0..2 {
        mesh.proxy.kill();
        if round == 1 {
            mesh.proxy.set_cgroup(elsewhere.path());
        }
        for to in at_port(mesh.pod("server").addresses().iter()) {
            assert_stopped(&remote.netns, to);
        }
        mesh.proxy.restart().unwrap();
        mesh.proxy.wait_ready(PATIENCE).unwrap();
        let inbound = at_port(mesh.pod("server").addresses().iter());
        let outbound = at_port(remote.addresses.iter());
        for (from, host, to) in inbound
            .into_iter()
            .map(|to| (&remote.netns, &server_netns, to))
            .chain(outbound.into_iter().map(|to| (&server_netns, &remote.netns, to)))
        {
            let _server = serve(host, to);
            let seen = eventually(PATIENCE, || Client::exchange(from, &ClientSpec::to(to)).ok()).unwrap();
            assert_eq!(seen.server.peer.ip(), seen.local.ip());
            assert_ne!(
                seen.server.peer.port(),
                seen.local.port(),
                "let through: {seen:?}"
            );
        }
    }
}

/// An application that is still connecting does not even notice.
#[test]
fn a_connection_that_waits_is_made_when_ztunnel_is_back() {
    let mut mesh = mesh("waits");
    let to = at_port(mesh.world.remote.addresses.iter())[0];
    assert!(to.is_ipv4());
    let server = serve(&mesh.world.remote.netns, to);
    let tally = Tally::of(&mesh, "client");
    mesh.proxy.kill();
    let netns = mesh.pod("client").netns.clone();
    let waiting = std::thread::spawn(move || {
        let spec = ClientSpec::to(to).deadline(Duration::from_secs(20));
        Client::exchange(&netns, &spec)
    });
    tally.wait(Reason::NoListener, 1);
    assert_eq!(server.connections(), []);
    mesh.proxy.restart().unwrap();
    let seen = waiting.join().unwrap().unwrap();
    assert_ne!(
        seen.server.peer.port(),
        seen.local.port(),
        "let through: {seen:?}"
    );
}
