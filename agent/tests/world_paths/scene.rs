//! The mesh that the tests share, and the two judgements: captured, or left alone.

use std::net::{IpAddr, SocketAddr};

use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Direction, ProxyKind, Record};
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};

/// Where applications listen.
pub const PORT: u16 = 8080;

/// Two pods in the mesh, and one that is not.
pub fn builder(name: &str, wiring: Wiring) -> Builder {
    Mesh::builder(name)
        .wiring(wiring)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .outside("plain")
}

/// The same, running.
pub fn mesh(name: &str, wiring: Wiring) -> Mesh {
    builder(name, wiring).start().unwrap()
}

/// Both of the remote host's addresses, with the application's port.
pub fn remote(mesh: &Mesh) -> impl Iterator<Item = SocketAddr> + use<> {
    mesh.world
        .remote
        .addresses
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
}

/// A server at one address.
pub fn serve(netns: &Netns, to: SocketAddr) -> Server {
    Server::start(netns, &ServerSpec::new("application", to)).unwrap()
}

/// A server at every address of the remote host.
pub fn serve_remote(mesh: &Mesh) -> Server {
    serve(&mesh.world.remote.netns, any(PORT))
}

/// Every address of both families.
pub fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), port)
}

/// An exchange by a client without wishes.
pub fn exchange(netns: &Netns, to: SocketAddr) -> Exchange {
    Client::exchange(netns, &ClientSpec::to(to)).unwrap()
}

/// Connects until it succeeds: what comes to a new address is refused until the agent has learnt of it.
pub fn exchange_soon(netns: &Netns, to: SocketAddr) -> Exchange {
    eventually(PATIENCE, || Client::exchange(netns, &ClientSpec::to(to)).ok()).unwrap()
}

/// Connects until the connection is captured: the agent learns of a new address a moment after the kernel. Until then
/// nothing that comes from it gets out, and what comes to it is refused.
pub fn captured_soon(netns: &Netns, spec: &ClientSpec) -> Exchange {
    eventually(PATIENCE, || {
        Client::exchange(netns, spec).ok().filter(is_captured)
    })
    .unwrap()
}

/// Whether it is the stand-in: a real ztunnel shows less of what it does.
pub fn is_stand_in(mesh: &Mesh) -> bool {
    matches!(mesh.proxy.kind(), ProxyKind::StandIn(_))
}

/// IPv4's own form.
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether somebody stands between client and server: the server then sees another port than the client's.
pub fn is_captured(seen: &Exchange) -> bool {
    seen.was_captured()
}

/// The client spoke with the server itself.
pub fn assert_direct(seen: &Exchange) {
    assert!(
        seen.went_straight(),
        "the connection did not go straight: {seen:?}"
    );
}

/// The connection went through the proxy of the client's pod, and both ends see what they would see without it.
pub fn assert_outbound(mesh: &Mesh, seen: &Exchange, to: SocketAddr) -> Record {
    assert!(
        is_captured(seen),
        "the connection did not go through the proxy: {seen:?}"
    );
    assert_eq!(plain(seen.peer), plain(to), "getpeername");
    assert_eq!(seen.server.local, plain(to), "it arrived elsewhere");
    recorded(mesh, Direction::Outbound, seen)
}

/// The connection went through the proxy of the server's pod, which shows the application the client's address.
pub fn assert_inbound(mesh: &Mesh, seen: &Exchange) -> Record {
    assert!(
        is_captured(seen),
        "the connection did not go through the proxy: {seen:?}"
    );
    assert_eq!(
        seen.server.peer.ip(),
        plain(seen.local).ip(),
        "the client's address"
    );
    recorded(mesh, Direction::Inbound, seen)
}

fn recorded(mesh: &Mesh, direction: Direction, seen: &Exchange) -> Record {
    mesh.proxy
        .wait_for(PATIENCE, |record| {
            record.direction == direction
                && record.peer == Some(plain(seen.local))
                && record.original_destination == Some(plain(seen.peer))
        })
        .unwrap()
}
