//! Who reaches whom through the mesh, and what each side sees.

use std::net::{IpAddr, SocketAddr};

use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};

const PORT: u16 = 8080;

fn mesh(name: &str, wiring: Wiring) -> Mesh {
    Mesh::builder(name)
        .wiring(wiring)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .outside("plain")
        .start()
        .unwrap()
}

fn serve(netns: &Netns, name: &str, address: IpAddr) -> Server {
    Server::start(netns, &ServerSpec::new(name, SocketAddr::new(address, PORT))).unwrap()
}

fn exchange(netns: &Netns, to: IpAddr) -> Exchange {
    Client::exchange(netns, &ClientSpec::to(SocketAddr::new(to, PORT))).unwrap()
}

#[test]
fn pod_to_pod_keeps_the_clients_address() {
    let mesh = mesh("pod-to-pod", Wiring::PointToPoint);
    for to in mesh.pod("server").addresses().iter() {
        let server = serve(&mesh.pod("server").netns, "server", to);
        let seen = exchange(&mesh.pod("client").netns, to);
        assert_eq!(seen.server.peer.ip(), mesh.address("client", to).unwrap());
        assert_eq!(seen.peer, server.address());
        assert_ne!(
            seen.server.peer.port(),
            seen.local.port(),
            "the connection did not go through the proxy"
        );
    }
}
