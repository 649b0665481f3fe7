//! The mesh that the tests share, and the two judgements: captured, or left alone.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::process::Command;

use clap::ValueEnum as _;
use weir_agent::datapath::Hook;
use weir_netdetect::facts;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::mesh::{Builder, Mesh, ZTUNNEL};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Direction, ProxyKind, Record};
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server};
use weir_testbeds::world::{Family, Wiring};

/// Where applications listen.
pub const PORT: u16 = 8080;
/// Where proxies take tunnels.
pub const HBONE: u16 = 15008;

/// Two pods in the mesh, one that is not, and ztunnel, all wired alike.
pub fn builder(name: &str, wiring: Wiring) -> Builder {
    Mesh::builder(name)
        .wiring(wiring)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .outside("plain")
        .ztunnel_outside(wiring)
}

/// The same, running.
pub fn mesh(name: &str, wiring: Wiring) -> Mesh {
    builder(name, wiring).start().unwrap()
}

/// The same with the stand-in, whatever the environment asks for: the real ztunnel tells of a connection when it is
/// over, opens tunnels to those with certificates, tunnels to itself always, and (in July 2024) loses what a socket does
/// not take at once, as `CopyBuf` compares what is left the wrong way round.
pub fn mesh_of_the_stand_in(name: &str, wiring: Wiring) -> Mesh {
    let kind = ProxyKind::stand_in().unwrap();
    builder(name, wiring).proxy_kind(kind).start().unwrap()
}

/// A server at every address.
pub fn serve(netns: &Netns) -> Server {
    Server::anywhere(netns, PORT).unwrap()
}

/// All addresses of a pod, with the application's port.
pub fn of_pod(mesh: &Mesh, pod: &str) -> Vec<SocketAddr> {
    let addresses = mesh.pod(pod).addresses().iter();
    addresses.map(|address| SocketAddr::new(address, PORT)).collect()
}

/// All addresses of the remote host, with the application's port.
pub fn of_remote(mesh: &Mesh) -> Vec<SocketAddr> {
    let addresses = mesh.world.remote.addresses.iter();
    addresses.map(|address| SocketAddr::new(address, PORT)).collect()
}

/// An exchange by a client without wishes.
pub fn exchange(netns: &Netns, to: SocketAddr) -> Exchange {
    Client::exchange(netns, &ClientSpec::to(to)).unwrap_or_else(|failure| panic!("to {to}: {failure}"))
}

/// The client spoke with the server itself.
pub fn assert_direct(seen: &Exchange) {
    assert!(
        seen.went_straight(),
        "the connection did not go straight: {seen:?}"
    );
}

/// The connection went through ztunnel, and the server sees the client's address.
pub fn assert_captured(mesh: &Mesh, direction: Direction, seen: &Exchange) -> Record {
    assert!(
        seen.was_captured(),
        "the connection did not go through ztunnel: {seen:?}"
    );
    assert_eq!(seen.server.peer.ip(), seen.local.ip(), "the client's address");
    recorded(mesh, direction, seen)
}

/// The connection was made to ztunnel in the first place, and the server sees ztunnel.
pub fn assert_detoured(mesh: &Mesh, seen: &Exchange) -> Record {
    let of_ztunnel = mesh.pod(ZTUNNEL).attachments().any(|attachment| {
        let mut addresses = attachment.addresses.iter();
        addresses.any(|address| address == seen.server.peer.ip())
    });
    assert!(of_ztunnel, "{seen:?}");
    recorded(mesh, Direction::Outbound, seen)
}

/// ztunnel's own record of a connection.
fn recorded(mesh: &Mesh, direction: Direction, seen: &Exchange) -> Record {
    let wanted = |record: &Record| {
        record.direction == direction
            && record.peer == Some(seen.local)
            && record.original_destination == Some(seen.peer)
    };
    mesh.proxy.wait_for(PATIENCE, wanted).unwrap()
}

/// The agent's flag that makes it put programs at interfaces in this way.
pub fn by(hook: Hook) -> String {
    let word = hook.to_possible_value().unwrap();
    format!("--interface-hook={}", word.get_name())
}

/// The programs at a pod's interface on the node, in the order in which packets meet them.
pub fn programs(mesh: &Mesh, pod: &str) -> Vec<(facts::Direction, String)> {
    let node = &mesh.world.node.netns;
    let name = mesh.pod(pod).host_interface().unwrap();
    let interface = node.netlink(async |netlink| netlink.interface(name).await);
    let index = interface.unwrap().index;
    let found = weir_netdetect::read::node(node.as_fd()).unwrap().programs;
    let here = found.into_iter().filter(|program| program.interface == index);
    here.map(|program| (program.direction, program.name)).collect()
}

/// Runs a program in a namespace, and hands over what it prints.
pub fn run(netns: &Netns, line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let command = command.args(words);
    let output = netns.run(|| command.output()).unwrap();
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
