//! The ways in which applications connect.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd as _;
use std::process::Command;

use ipnetwork::IpNetwork;
use nix::sys::socket::{MsgFlags, SockaddrStorage, getpeername, getsockname, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use weir_testbeds::capture::Capture;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::Member;
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server, ServerSpec};
use weir_testbeds::world::Wiring;

use crate::dialogue::{converse, greeted};
use crate::scene::{
    PORT, any, assert_inbound, assert_outbound, builder, captured_soon, mesh, plain, remote, serve,
    serve_remote,
};

on_every_wiring! {
    v4_over_a_v6_socket,
    sources_and_ports_chosen_first,
    a_second_address_of_the_pod,
    a_source_that_is_not_known_as_the_pods,
    connects_that_do_not_block,
    data_in_the_first_packet,
    data_in_the_first_packet_to_a_pod,
    several_paths,
    paths_that_are_added_later,
    io_uring,
    sockets_older_than_the_enrolment,
}

fn v4_over_a_v6_socket(wiring: Wiring) {
    let mesh = mesh("mapped", wiring);
    let _server = serve_remote(&mesh);
    let to = remote(&mesh).find(SocketAddr::is_ipv4).unwrap();
    let seen = ask(&mesh, &ClientSpec::to(to).v4_mapped());
    assert!(seen.local.is_ipv6(), "the application's own form stays: {seen:?}");
    let pod = mesh.pod("server").addresses().v4.unwrap();
    let to = SocketAddr::new(pod.into(), PORT);
    let _server = serve(&mesh.pod("server").netns, to);
    ask(&mesh, &ClientSpec::to(to).v4_mapped());
}

/// Connects from the pod, which must be captured.
fn ask(mesh: &Mesh, spec: &ClientSpec) -> Exchange {
    let seen = Client::exchange(&mesh.pod("client").netns, spec).unwrap();
    assert_outbound(mesh, &seen, spec.to);
    seen
}

fn sources_and_ports_chosen_first(wiring: Wiring) {
    let mesh = mesh("bound", wiring);
    let _server = serve_remote(&mesh);
    for (to, port) in remote(&mesh).zip([20_000, 20_001]) {
        let own = mesh.address("client", to.ip()).unwrap();
        let by_address = ask(&mesh, &ClientSpec::to(to).from(own));
        assert_eq!(by_address.local.ip(), own);
        let by_port = ClientSpec::to(to).from_port(SocketAddr::new(unspecified(to), port));
        assert_eq!(ask(&mesh, &by_port).local, SocketAddr::new(own, port));
        let both = SocketAddr::new(own, port + 10);
        assert_eq!(ask(&mesh, &ClientSpec::to(to).from_port(both)).local, both);
    }
}

fn unspecified(like: SocketAddr) -> IpAddr {
    match like {
        SocketAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

fn a_second_address_of_the_pod(wiring: Wiring) {
    let mesh = mesh("second-address", wiring);
    let _remote = serve_remote(&mesh);
    let client = mesh.pod("client");
    for (to, second) in remote(&mesh).zip(["10.99.0.7/32", "fd99::7/128"]) {
        let second: IpNetwork = second.parse().unwrap();
        client
            .netns
            .netlink(async |netlink| netlink.add_address("eth0", second).await)
            .unwrap();
        let seen = captured_soon(&client.netns, &ClientSpec::to(to).from(second.ip()));
        assert_outbound(&mesh, &seen, to);
        assert_eq!(seen.local.ip(), second.ip());
    }
}

/// As one has that is newer than what the agent knows, or that an application borrows: its connection must not come back
/// to what listens in the pod on the same port.
fn a_source_that_is_not_known_as_the_pods(wiring: Wiring) {
    let mesh = mesh("unknown-source", wiring);
    let _remote = serve_remote(&mesh);
    let client = &mesh.pod("client").netns;
    let mut own = ServerSpec::new("own", any(PORT));
    own.transparent = true;
    let _own = Server::start(client, &own).unwrap();
    for (to, source) in remote(&mesh).zip(["10.99.0.9", "fd99::9"]) {
        let source = source.parse().unwrap();
        let seen = ask(&mesh, &ClientSpec::to(to).from(source).transparent());
        assert_eq!(seen.local.ip(), source);
    }
}

fn connects_that_do_not_block(wiring: Wiring) {
    let mesh = mesh("nonblocking", wiring);
    let _server = serve_remote(&mesh);
    for to in remote(&mesh) {
        ask(&mesh, &ClientSpec::to(to).nonblocking());
    }
}

/// TCP fast open: the destination is named with the first bytes, and there is no `connect()`.
fn data_in_the_first_packet(wiring: Wiring) {
    let mesh = mesh("fast-open", wiring);
    let client = &mesh.pod("client").netns;
    open_fast([client, &mesh.world.remote.netns]);
    let _server = serve_remote(&mesh);
    for to in remote(&mesh) {
        let seen = ask_early(client, "lo", to);
        assert_outbound(&mesh, &seen, to);
    }
}

/// The same from a host outside the mesh.
fn data_in_the_first_packet_to_a_pod(wiring: Wiring) {
    let mesh = mesh("fast-open-in", wiring);
    let server = mesh.pod("server");
    open_fast([&server.netns, &mesh.world.remote.netns]);
    for address in server.addresses().iter() {
        let to = SocketAddr::new(address, PORT);
        let _server = serve(&server.netns, to);
        let seen = ask_early(&mesh.world.remote.netns, "eth0", to);
        assert_inbound(&mesh, &seen);
    }
}

/// Clients and listeners, without cookies: the SYN carries data at once.
fn open_fast(namespaces: [&Netns; 2]) {
    for netns in namespaces {
        netns.sysctl_set("net.ipv4.tcp_fastopen", "1543").unwrap();
    }
}

fn ask_early(client: &Netns, interface: &str, to: SocketAddr) -> Exchange {
    let wire = Capture::start(client, interface).unwrap();
    let socket = stream(client, to, Protocol::TCP);
    let sent = sendto(
        socket.as_raw_fd(),
        b"early",
        &SockaddrStorage::from(to),
        MsgFlags::from_bits_retain(nix::libc::MSG_FASTOPEN),
    );
    assert_eq!(sent, Ok(5));
    let mut reader = BufReader::new(TcpStream::from(socket.try_clone().unwrap()));
    let seen = greeted(&socket, &mut reader);
    let mut echo = [0; 5];
    reader.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"early");
    let syns = wire.tcp_syns();
    let early = syns.iter().any(|syn| syn.destination == to && syn.payload == 5);
    assert!(early, "the first packet had no data: {syns:?}");
    seen
}

fn stream(netns: &Netns, to: SocketAddr, protocol: Protocol) -> Socket {
    let made = netns.run(|| Socket::new(Domain::for_address(to), Type::STREAM, Some(protocol)));
    let socket = made.unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// MPTCP, whose first subflow the application opens.
fn several_paths(wiring: Wiring) {
    let mesh = mesh("mptcp", wiring);
    let _server = serve_remote(&mesh);
    for to in remote(&mesh) {
        let socket = stream(&mesh.pod("client").netns, to, Protocol::MPTCP);
        socket.connect(&to.into()).unwrap();
        let seen = converse(&socket);
        drop(socket);
        assert_outbound(&mesh, &seen, to);
    }
}

fn configure_mptcp(netns: &Netns, arguments: &str) {
    let mut ip = Command::new("ip");
    ip.arg("mptcp").args(arguments.split(' '));
    let output = netns.run(|| ip.output()).unwrap();
    assert!(output.status.success(), "ip mptcp {arguments}: {output:?}");
}

/// Further subflows are opened by the kernel, here for a connection that is older than the enrolment.
fn paths_that_are_added_later(wiring: Wiring) {
    add_a_path(wiring, SocketAddr::is_ipv4, "10.99.0.9/32");
    add_a_path(wiring, SocketAddr::is_ipv6, "fd99::9/128");
}

fn add_a_path(wiring: Wiring, family: fn(&SocketAddr) -> bool, second: &str) {
    let mut mesh = builder("subflow", wiring).outside("late").start().unwrap();
    let (late, far) = (mesh.pod("late").netns.clone(), mesh.world.remote.netns.clone());
    let second: IpNetwork = second.parse().unwrap();
    for netns in [&late, &far] {
        configure_mptcp(netns, "limits set subflows 2 add_addr_accepted 2");
    }
    let to = remote(&mesh).find(family).unwrap();
    let listener = stream(&far, to, Protocol::MPTCP);
    listener.bind(&to.into()).unwrap();
    listener.listen(1).unwrap();
    let near = stream(&late, to, Protocol::MPTCP);
    near.connect(&to.into()).unwrap();
    let served = listener.accept().unwrap().0;
    speak(&near, &served);
    mesh.relabel("late", true).unwrap();
    late.netlink(async |netlink| netlink.add_address("eth0", second).await)
        .unwrap();
    let (inside, outside) = (
        Capture::start(&late, "lo").unwrap(),
        Capture::start(&late, "eth0").unwrap(),
    );
    configure_mptcp(&late, &format!("endpoint add {} dev eth0 subflow", second.ip()));
    let of_second = |capture: &Capture| {
        capture
            .tcp_syns()
            .iter()
            .any(|syn| syn.source.ip() == second.ip())
    };
    eventually(PATIENCE, || of_second(&inside).then_some(())).unwrap();
    assert!(!of_second(&outside), "a subflow left the pod");
    speak(&near, &served);
}

/// Both ways, several times.
fn speak(near: &Socket, far: &Socket) {
    for _ in 0..3 {
        for (mut from, mut to) in [(near, far), (far, near)] {
            from.write_all(b"word").unwrap();
            let mut word = [0; 4];
            to.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"word");
        }
    }
}

/// The kernel connects on the application's behalf.
fn io_uring(wiring: Wiring) {
    let mesh = mesh("io-uring", wiring);
    let _server = serve_remote(&mesh);
    for to in remote(&mesh) {
        let seen = mesh
            .pod("client")
            .netns
            .run(|| tokio_uring::start(connect_by_ring(to)));
        assert_outbound(&mesh, &seen.unwrap(), to);
    }
}

async fn connect_by_ring(to: SocketAddr) -> io::Result<Exchange> {
    let stream = tokio_uring::net::TcpStream::connect(to).await?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let (length, buffer) = stream.read(vec![0; 1024]).await;
        line.extend(
            &buffer[..length
                .map(NonZeroUsize::new)?
                .ok_or(io::ErrorKind::UnexpectedEof)?
                .get()],
        );
    }
    let socket = stream.as_raw_fd();
    Ok(Exchange {
        local: inet(getsockname(socket)?),
        peer: inet(getpeername(socket)?),
        server: serde_json::from_slice(&line)?,
    })
}

fn inet(address: SockaddrStorage) -> SocketAddr {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
        .unwrap()
}

fn sockets_older_than_the_enrolment(wiring: Wiring) {
    let mut mesh = builder("older", wiring).outside("late").start().unwrap();
    let _server = serve_remote(&mesh);
    let late = mesh.pod("late").netns.clone();
    let to: Vec<_> = remote(&mesh).collect();
    let clients: Vec<_> = to
        .iter()
        .map(|to| Client::prepare(&late, &ClientSpec::to(*to)).unwrap())
        .collect();
    // A ztunnel serves only whom it knows, and learns of the late pod only when it starts again.
    let members = ["client", "server", "late"].map(|pod| Member::of(mesh.pod(pod)));
    mesh.proxy.set_members(members.into()).unwrap();
    mesh.proxy.wait_ready(PATIENCE).unwrap();
    mesh.relabel("late", true).unwrap();
    for (client, to) in clients.into_iter().zip(to) {
        let seen = client.finish().unwrap().converse().unwrap();
        assert_eq!(seen.local.ip(), mesh.address("late", to.ip()).unwrap());
        assert_eq!(plain(seen.peer), to);
        assert_outbound(&mesh, &seen, to);
    }
}
