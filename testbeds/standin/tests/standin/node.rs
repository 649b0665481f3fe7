//! Connections through a proxy in the node contract.

use std::io::{BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};

use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::proxy::{Direction, Learnt, Member, Outcome, Proxy, ProxyKind, ProxySpec};

use crate::chain::{CLIENT, Chain, SERVER};
use crate::peers::{connect, greet_and_echo, line, listen, send_all};
use crate::sockets::listeners;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn start(chain: &Chain, members: impl IntoIterator<Item = Member>) -> Proxy {
    let spec = ProxySpec::node(&chain.proxy, address("10.9.1.1")).members(members);
    let proxy = Proxy::start_kind(ProxyKind::stand_in().unwrap(), spec).unwrap();
    proxy.wait_ready(PATIENCE).unwrap();
    proxy
}

#[test]
fn sockets_are_transparent_and_carry_no_mark() {
    let chain = Chain::new();
    let _proxy = start(&chain, []);
    let found = listeners(&chain.proxy);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [15001, 15006, 15008]);
    assert!(
        found
            .values()
            .all(|listener| listener.transparent && listener.mark == 0),
        "{found:?}"
    );
}

#[test]
fn outbound_connects_from_the_clients_address() {
    let chain = Chain::new();
    let proxy = start(&chain, [Member::local("client", [address(CLIENT)])]);
    let destination = SocketAddr::new(address(SERVER), 15001);
    let _application = greet_and_echo(listen(&chain.server, destination));
    let mut stream = BufReader::new(connect(&chain.client, destination, None).unwrap());
    assert_eq!(line(&mut stream), CLIENT);
    assert_eq!(send_all(&mut stream, b"hello"), b"hello");
    let record = proxy
        .wait_for(PATIENCE, |record| record.direction == Direction::Outbound)
        .unwrap();
    assert_eq!(record.original_destination, Some(destination));
    assert_eq!(record.learnt, Some(Learnt::LocalAddress));
    assert_eq!(
        record.upstream_source.map(|source| source.ip()),
        Some(address(CLIENT))
    );
    assert_eq!(record.pod, None);
}

#[test]
fn a_source_that_is_no_pod_is_denied() {
    let chain = Chain::new();
    let proxy = start(&chain, []);
    let mut stream = connect(&chain.client, SocketAddr::new(address(SERVER), 15001), None).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let record = proxy
        .wait_for(PATIENCE, |record| record.direction == Direction::Outbound)
        .unwrap();
    assert_eq!(record.outcome, Outcome::Denied);
}

#[test]
fn a_member_elsewhere_is_reached_by_tunnel_from_the_clients_address() {
    let chain = Chain::new();
    let members = [
        Member::local("client", [address(CLIENT)]),
        Member::remote("server", [address(SERVER)]),
    ];
    let _proxy = start(&chain, members);
    let listener = listen(&chain.server, SocketAddr::new(address(SERVER), 15008));
    let _client = connect(&chain.client, SocketAddr::new(address(SERVER), 15001), None).unwrap();
    let (tunnel, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), address(CLIENT));
    assert_eq!(
        line(&mut BufReader::new(tunnel)),
        format!("STANDIN/1 CONNECT {SERVER}:15001 AS {CLIENT}")
    );
}

#[test]
fn a_tunnel_for_a_local_pod_ends_at_its_application() {
    let chain = Chain::new();
    let proxy = start(&chain, [Member::local("server", [address(SERVER)])]);
    let destination = SocketAddr::new(address(SERVER), 8080);
    let _application = greet_and_echo(listen(&chain.server, destination));
    let mut stream = connect(&chain.client, SocketAddr::new(address(SERVER), 15008), None).unwrap();
    writeln!(stream, "STANDIN/1 CONNECT {destination} AS -").unwrap();
    let mut stream = BufReader::new(stream);
    assert_eq!(line(&mut stream), "STANDIN/1 OK");
    assert_eq!(line(&mut stream), CLIENT);
    let record = proxy
        .wait_for(PATIENCE, |record| record.direction == Direction::Hbone)
        .unwrap();
    assert_eq!(
        (record.upstream, record.outcome),
        (Some(destination), Outcome::Connected)
    );
}
