//! DNS: queries go to the proxy, and answers come from whom was asked.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Socket, Type};
use weir_common::reason::Reason;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::Dns;
use weir_testbeds::traffic::Cause;
use weir_testbeds::traffic::dns::{Kind, Query, Responder, Transport, Zone};
use weir_testbeds::world::Wiring;

use crate::scene::{builder, is_stand_in};
use crate::tally::Tally;

on_every_wiring! {
    the_proxy_answers_in_the_servers_name,
    one_socket_asks_two_servers,
    a_socket_of_both_families_asks_a_v4_server,
    a_query_that_cannot_be_noted_goes_nowhere,
    a_socket_bound_to_a_device_asks_the_proxy_too,
    the_own_proxy_queries_go_out,
    pods_may_opt_out,
    a_resolver_inside_the_pod_is_left_alone,
}

const DNS: u16 = 53;
const FROM_PROXY: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(10, 9, 9, 9),
    Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 9),
);
const FROM_SERVER: Zone = Zone {
    v4: Ipv4Addr::new(10, 8, 8, 8),
    v6: Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 8),
};
const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::ConnectedUdp, Transport::Tcp];

fn answers() -> Dns {
    Dns::Answers(vec![(None, FROM_PROXY.0.into()), (None, FROM_PROXY.1.into())])
}

fn servers(mesh: &Mesh) -> Vec<Responder> {
    let remote = &mesh.world.remote;
    let addresses = remote.addresses.iter();
    addresses.map(|address| respond(&remote.netns, address)).collect()
}

fn respond(netns: &Netns, address: IpAddr) -> Responder {
    Responder::start(netns, SocketAddr::new(address, DNS), FROM_SERVER).unwrap()
}

fn queries(to: SocketAddr) -> impl Iterator<Item = Query> {
    TRANSPORTS.into_iter().flat_map(move |transport| {
        [Kind::A, Kind::Aaaa].map(|kind| Query::new(to, "a.test").kind(kind).over(transport))
    })
}

fn expected(kind: Kind, v4: Ipv4Addr, v6: Ipv6Addr) -> [IpAddr; 1] {
    match kind {
        Kind::A => [v4.into()],
        Kind::Aaaa => [v6.into()],
    }
}

fn the_proxy_answers_in_the_servers_name(wiring: Wiring) {
    let mesh = builder("dns", wiring).dns(answers()).start().unwrap();
    if !is_stand_in(&mesh) {
        return eprintln!("a ztunnel answers only what a control plane tells it");
    }
    for server in servers(&mesh) {
        for query in queries(server.address()) {
            let answer = query.ask(&mesh.pod("client").netns).unwrap();
            assert_eq!(answer.from, server.address(), "{query:?}");
            assert_eq!(
                answer.addresses,
                expected(query.kind, FROM_PROXY.0, FROM_PROXY.1),
                "{query:?}"
            );
            let outside = query.ask(&mesh.pod("plain").netns).unwrap();
            assert_eq!(
                outside.addresses,
                expected(query.kind, FROM_SERVER.v4, FROM_SERVER.v6)
            );
        }
        let counted = Tally::of(&mesh, "client");
        assert!(counted.count(Reason::DnsUdp) >= 4 && counted.count(Reason::DnsTcp) >= 2);
        let pod = mesh.address("client", server.address().ip()).unwrap();
        assert!(
            server.seen().iter().all(|seen| seen.from.ip() != pod),
            "a query got out"
        );
    }
}

/// In turn, as `dig` and others that go on to the next server where one is silent; then all of them at once, as musl,
/// which takes the first answer to each question from any server that it has asked. Which one it is it cannot tell.
fn one_socket_asks_two_servers(wiring: Wiring) {
    let mesh = builder("two-servers", wiring).dns(answers()).start().unwrap();
    if !is_stand_in(&mesh) {
        return eprintln!("a ztunnel answers only what a control plane tells it");
    }
    for servers in [
        ["192.0.2.1:53", "192.0.2.2:53"],
        ["[2001:db8::1]:53", "[2001:db8::2]:53"],
    ] {
        let servers = servers.map(|server| server.parse::<SocketAddr>().unwrap());
        let any: SocketAddr = if servers[0].is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        }
        .parse()
        .unwrap();
        let socket = mesh.pod("client").netns.run(|| UdpSocket::bind(any)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        for server in servers.into_iter().chain(servers) {
            socket.send_to(&question(1), server).unwrap();
            assert_eq!(answer(&socket), (1, server));
        }
        let mut open = BTreeSet::from([2, 3]);
        for server in servers {
            for number in &open {
                socket.send_to(&question(*number), server).unwrap();
            }
        }
        while !open.is_empty() {
            let (number, server) = answer(&socket);
            assert_eq!(server, servers[1], "the one that was asked last");
            open.remove(&number);
        }
    }
}

/// As resolvers that hold one socket for all servers: an IPv4 server then has an address of IPv6's form.
fn a_socket_of_both_families_asks_a_v4_server(wiring: Wiring) {
    let mesh = builder("mapped-dns", wiring).dns(answers()).start().unwrap();
    if !is_stand_in(&mesh) {
        return eprintln!("a ztunnel answers only what a control plane tells it");
    }
    let server: SocketAddr = "[::ffff:192.0.2.1]:53".parse().unwrap();
    for connected in [false, true] {
        let socket = mesh
            .pod("client")
            .netns
            .run(|| UdpSocket::bind("[::]:0"))
            .unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        if connected {
            socket.connect(server).unwrap();
            socket.send(&question(1)).unwrap();
            assert_eq!(socket.peer_addr().unwrap(), server);
        } else {
            socket.send_to(&question(1), server).unwrap();
        }
        assert_eq!(answer(&socket), (1, server), "connected: {connected}");
    }
}

/// A socket whose options have used up its memory: the answer could not come in the server's name, and nobody but
/// ztunnel may see the question.
fn a_query_that_cannot_be_noted_goes_nowhere(wiring: Wiring) {
    let mesh = builder("unnoted", wiring).dns(answers()).start().unwrap();
    let client = &mesh.pod("client").netns;
    if client.sysctl_get("net.core.optmem_max").is_err() {
        return eprintln!("this kernel has one limit for all network namespaces: nothing is tried");
    }
    client.sysctl_set("net.core.optmem_max", "1").unwrap();
    let tally = Tally::of(&mesh, "client");
    let before = tally.count(Reason::Unnoted);
    let mut refused = 0;
    for server in servers(&mesh) {
        for query in queries(server.address()) {
            let failure = query.ask(client).unwrap_err();
            assert_eq!(failure.cause, Cause::NotPermitted, "{query:?}");
            refused += 1;
        }
        assert!(server.seen().is_empty(), "{:?}", server.seen());
    }
    assert_eq!(tally.count(Reason::Unnoted), before + refused);
    assert_eq!(tally.count(Reason::DnsUdp) + tally.count(Reason::DnsTcp), 0);
}

/// By its device the query would leave the pod, and nobody would answer. Of a datagram the kernel has noted the device
/// before it asks: the first one is refused.
fn a_socket_bound_to_a_device_asks_the_proxy_too(wiring: Wiring) {
    let mesh = builder("device-dns", wiring).dns(answers()).start().unwrap();
    if !is_stand_in(&mesh) {
        return eprintln!("a ztunnel answers only what a control plane tells it");
    }
    let client = &mesh.pod("client").netns;
    for server in ["192.0.2.1:53", "[2001:db8::1]:53"] {
        let server: SocketAddr = server.parse().unwrap();
        let bound = |kind| {
            let socket = client
                .run(|| Socket::new(Domain::for_address(server), kind, None))
                .unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.bind_device(Some(b"eth0")).unwrap();
            socket
        };
        let connected = bound(Type::DGRAM);
        connected.connect(&server.into()).unwrap();
        connected.send(&question(1)).unwrap();
        assert_eq!(answer(&connected.into()), (1, server));
        let unconnected = UdpSocket::from(bound(Type::DGRAM));
        let refused = unconnected.send_to(&question(2), server).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        unconnected.send_to(&question(3), server).unwrap();
        assert_eq!(answer(&unconnected), (3, server));
        let stream = bound(Type::STREAM);
        stream.connect(&server.into()).unwrap();
        assert_eq!(stream.peer_addr().unwrap().as_socket(), Some(server));
    }
    let counted = Tally::of(&mesh, "client");
    assert_eq!(counted.count(Reason::BoundDevice), 2, "each first datagram");
}

fn question(number: u8) -> Vec<u8> {
    let mut message = vec![0x12, number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(b"\x01a\x04test\0\0\x01\0\x01");
    message
}

/// The number of the question that is answered, and who answers.
fn answer(socket: &UdpSocket) -> (u8, SocketAddr) {
    let mut buffer = [0; 512];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert!(length > question(0).len(), "an answer repeats the question");
    (buffer[1], from)
}

fn the_own_proxy_queries_go_out(wiring: Wiring) {
    for family in [0, 1] {
        let upstream = ["192.168.100.2:53", "[fd00:100::2]:53"][family].parse().unwrap();
        let mesh = builder("upstream", wiring)
            .dns(Dns::Upstream(upstream))
            .start()
            .unwrap();
        if !is_stand_in(&mesh) {
            return eprintln!("a ztunnel asks the servers of its own resolv.conf");
        }
        let server = respond(&mesh.world.remote.netns, upstream.ip());
        for query in queries(upstream) {
            let answer = query.ask(&mesh.pod("client").netns).unwrap();
            assert_eq!(answer.from, upstream);
            assert_eq!(
                answer.addresses,
                expected(query.kind, FROM_SERVER.v4, FROM_SERVER.v6),
                "{query:?}: {:#?}",
                mesh.proxy.connections()
            );
        }
        let asked = 2 * TRANSPORTS.len();
        assert_eq!(server.seen().len(), asked, "once each: {:?}", server.seen());
        // The proxy writes down an answer after it has given it.
        eventually(PATIENCE, || {
            (mesh.proxy.connections().len() == asked).then_some(())
        })
        .unwrap();
    }
}

fn pods_may_opt_out(wiring: Wiring) {
    let mesh = builder("dns-off", wiring)
        .dns(answers())
        .enrolled("port")
        .annotate("client", "ambient.istio.io/dns-capture", "false")
        .annotate("port", "traffic.sidecar.istio.io/excludeOutboundPorts", "53")
        .start()
        .unwrap();
    for pod in ["client", "port"] {
        for server in servers(&mesh) {
            for query in queries(server.address()) {
                let answer = query.ask(&mesh.pod(pod).netns).unwrap();
                assert_eq!(answer.from, server.address());
                assert_eq!(
                    answer.addresses,
                    expected(query.kind, FROM_SERVER.v4, FROM_SERVER.v6)
                );
            }
            let seen = server.seen();
            let own = mesh.address(pod, server.address().ip()).unwrap();
            assert_eq!(seen.len(), 2 * TRANSPORTS.len());
            assert!(seen.iter().all(|seen| seen.from.ip() == own), "{seen:?}");
        }
    }
}

fn a_resolver_inside_the_pod_is_left_alone(wiring: Wiring) {
    let mesh = builder("resolver", wiring).dns(answers()).start().unwrap();
    let pod = mesh.pod("client");
    let loopback = [
        IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    for address in loopback.into_iter().chain(pod.addresses().iter()) {
        let server = respond(&pod.netns, address);
        for query in queries(server.address()) {
            let answer = query.ask(&pod.netns).unwrap();
            assert_eq!(answer.from, server.address());
            assert_eq!(
                answer.addresses,
                expected(query.kind, FROM_SERVER.v4, FROM_SERVER.v6)
            );
        }
    }
}
