//! One socket, several connections.

use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::traffic::Exchange;
use weir_testbeds::world::Wiring;

use crate::dialogue::converse;
use crate::scene::{any, assert_direct, assert_outbound, builder, remote, serve};

on_every_wiring! {
    a_socket_is_captured_again_and_again,
    a_captured_socket_is_free_for_what_is_excluded,
}

const FIRST: u16 = 8080;
const SECOND: u16 = 8081;
const EXCLUDED: u16 = 9090;

fn mesh(name: &str, wiring: Wiring) -> Mesh {
    builder(name, wiring)
        .annotate(
            "client",
            "traffic.sidecar.istio.io/excludeOutboundPorts",
            &EXCLUDED.to_string(),
        )
        .start()
        .unwrap()
}

/// A socket of the client's pod that is connected, and disconnected again by AF_UNSPEC.
struct Reused(Socket);

impl Reused {
    fn new(mesh: &Mesh, like: SocketAddr) -> Self {
        let make = || Socket::new(Domain::for_address(like), Type::STREAM, Some(Protocol::TCP));
        let socket = mesh.pod("client").netns.run(make).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn visit(&self, to: SocketAddr) -> Exchange {
        self.0.connect(&to.into()).unwrap();
        let seen = converse(&self.0);
        rustix::net::connect_unspec(&self.0).unwrap();
        seen
    }
}

fn a_socket_is_captured_again_and_again(wiring: Wiring) {
    let mesh = mesh("again", wiring);
    let _servers = [FIRST, SECOND].map(|port| serve(&mesh.world.remote.netns, any(port)));
    for to in remote(&mesh) {
        let socket = Reused::new(&mesh, to);
        for port in [FIRST, SECOND, FIRST] {
            let to = SocketAddr::new(to.ip(), port);
            let seen = socket.visit(to);
            assert_outbound(&mesh, &seen, to);
        }
    }
}

fn a_captured_socket_is_free_for_what_is_excluded(wiring: Wiring) {
    let mesh = mesh("freed", wiring);
    let _servers = [FIRST, EXCLUDED].map(|port| serve(&mesh.world.remote.netns, any(port)));
    let _own = serve(&mesh.pod("client").netns, any(FIRST));
    for to in remote(&mesh) {
        let socket = Reused::new(&mesh, to);
        let at = |port| SocketAddr::new(to.ip(), port);
        assert_outbound(&mesh, &socket.visit(at(FIRST)), at(FIRST));
        assert_direct(&socket.visit(at(EXCLUDED)));
        assert_outbound(&mesh, &socket.visit(at(FIRST)), at(FIRST));
        let own = SocketAddr::new(mesh.address("client", to.ip()).unwrap(), FIRST);
        assert_direct(&socket.visit(own));
        assert_direct(&socket.visit(at(EXCLUDED)));
    }
}
