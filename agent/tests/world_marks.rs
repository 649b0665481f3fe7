//! Marks that a pod's own processes set: they open no door.
#![expect(
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

use serve::serve;
use tally::Tally;
use weir_common::mark;
use weir_common::reason::Reason;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::traffic::{Client, ClientSpec, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};
use wire::Wire;

const PORT: u16 = 8080;
/// Ours, ztunnel's, and those with bits that belong to somebody else.
const MARKS: [u32; 6] = [
    mark::ZTUNNEL,
    mark::OUTBOUND,
    mark::TO_APPLICATION,
    mark::ZTUNNEL | 0x0040_0000,
    mark::TO_APPLICATION | 0x0040_0000,
    0x77,
];

fn mesh(name: &str) -> Mesh {
    Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .start()
        .unwrap()
}

#[test]
fn a_mark_of_the_clients_own_does_not_keep_it_from_being_captured() {
    let mesh = mesh("client-marks");
    let (client, remote) = (mesh.pod("client"), &mesh.world.remote);
    let wire = Wire::of(client);
    let mut applications = Vec::new();
    for to in remote
        .addresses
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
    {
        let _server = Server::start(&remote.netns, &ServerSpec::new("remote", to)).unwrap();
        for mark in MARKS {
            let seen = Client::exchange(&client.netns, &ClientSpec::to(to).mark(mark)).unwrap();
            assert_ne!(seen.server.peer.port(), seen.local.port(), "{mark:#x}: {seen:?}");
            applications.push(seen.local);
            wire.carried_only(|segment| !applications.contains(&wire.pod_side(segment)));
        }
    }
    let outbound = Tally::of(&mesh, "client").count(Reason::Outbound);
    assert_eq!(outbound, 2 * MARKS.len() as u64, "each once: none goes round");
}

#[test]
fn a_mark_of_the_servers_own_does_not_keep_it_from_being_served() {
    let mesh = mesh("server-marks");
    let (server, remote) = (mesh.pod("server"), &mesh.world.remote);
    let wire = Wire::of(server);
    let mut expected = Vec::new();
    for to in server
        .addresses()
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
    {
        for mark in MARKS {
            let mut spec = ServerSpec::new("server", to);
            spec.mark = Some(mark);
            let _server = serve(&server.netns, &spec);
            let seen = Client::exchange(&remote.netns, &ClientSpec::to(to))
                .unwrap_or_else(|failure| panic!("{mark:#x}: {failure}"));
            assert_ne!(seen.server.peer.port(), seen.local.port(), "{mark:#x}: {seen:?}");
            expected.push((seen.local, to));
            wire.carried_only(|segment| {
                expected
                    .iter()
                    .any(|&(local, to)| wire::between(segment, local, to))
            });
        }
    }
}

/// With ztunnel's mark and SO_REUSEPORT the application can listen where ztunnel does.
#[test]
fn a_listener_with_ztunnels_mark_gets_nothing() {
    let mesh = mesh("false-ztunnel");
    let server = mesh.pod("server");
    for to in server
        .addresses()
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
    {
        let _server = Server::start(&server.netns, &ServerSpec::new("server", to)).unwrap();
        let any = if to.is_ipv4() {
            "0.0.0.0:15006"
        } else {
            "[::]:15006"
        };
        let mut spec = ServerSpec::new("false", any.parse().unwrap());
        spec.mark = Some(mark::ZTUNNEL);
        spec.reuse_port = true;
        spec.transparent = true;
        let _false = Server::start(&server.netns, &spec).unwrap();
        let seen = Client::exchange(&mesh.world.remote.netns, &ClientSpec::to(to)).unwrap();
        assert_eq!(seen.server.server, "server", "{seen:?}");
        assert_ne!(seen.server.peer.port(), seen.local.port(), "{seen:?}");
    }
}
