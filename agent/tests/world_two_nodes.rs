//! Pods of two nodes, each with an agent and a ztunnel of its own, meet by HBONE.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "support/serve.rs"]
mod serve;

use std::net::SocketAddr;

use serve::serve;
use weir_testbeds::capture::Capture;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::proxy::{Direction, Record};
use weir_testbeds::traffic::{Client, ClientSpec, ServerSpec};
use weir_testbeds::world::{Family, Wiring};

const PORT: u16 = 8080;
const HBONE: u16 = 15008;

#[test]
fn pods_of_two_nodes_meet_by_hbone() {
    let mut mesh = Mesh::builder("two-nodes")
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .outside("server")
        .start()
        .unwrap();
    let neighbour = mesh.neighbour(&["server"]).unwrap();
    let (client, server) = (mesh.pod("client"), mesh.pod("server"));
    let on_wire = Capture::start(&client.netns, "eth0").unwrap();
    for to in server.addresses().iter() {
        let to = SocketAddr::new(to, PORT);
        let _server = serve(&server.netns, &ServerSpec::new("server", to));
        let spec = ClientSpec::to(to).deadline(PATIENCE);
        let seen = Client::exchange(&client.netns, &spec).unwrap();
        assert_eq!(seen.server.peer.ip(), seen.local.ip(), "the client's address");
        assert_ne!(seen.server.peer.port(), seen.local.port(), "past the proxies");
        let left = |record: &Record| {
            record.direction == Direction::Outbound
                && record.peer == Some(seen.local)
                && record
                    .upstream
                    .is_some_and(|upstream| upstream == SocketAddr::new(to.ip(), HBONE))
        };
        mesh.proxy.wait_for(PATIENCE, left).unwrap();
        let arrived = |record: &Record| {
            record.direction == Direction::Hbone
                && record.peer.is_some_and(|peer| peer.ip() == seen.local.ip())
        };
        neighbour.proxy.wait_for(PATIENCE, arrived).unwrap();
    }
    for syn in on_wire.tcp_syns() {
        assert_eq!(syn.destination.port(), HBONE, "left the pod in clear: {syn:?}");
    }
}
