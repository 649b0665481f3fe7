//! Connections through a proxy in the in-pod contract.

use std::io::{BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Direction, Learnt, Member, Outcome, Proxy, ProxyKind, ProxySpec, Record};
use weir_testbeds::world::{Family, World};

use weir_standin::zds::wire::Request;

use crate::agent::{Agent, Session, del};
use crate::chain::{deliver_here, return_replies};
use crate::peers::{connect, greet_and_echo, line, listen, send_all};
use netlink_packet_route::rule::RuleAttribute;

const MARK: u32 = 0x222;

/// A world with a stand-in that serves the pod `server`.
struct Setting {
    world: World,
    proxy: Proxy,
    _agent: Agent,
    session: Session,
}

fn setting(change: impl FnOnce(ProxySpec, &World) -> ProxySpec) -> Setting {
    let world = World::builder("standin")
        .family(Family::Dual)
        .pods(["client", "server"])
        .build()
        .unwrap();
    let agent = Agent::new();
    let spec = change(ProxySpec::in_pod(&world.node.netns, agent.path()), &world);
    // The tests speak the tunnel in clear themselves.
    let proxy = Proxy::start_kind(ProxyKind::stand_in().unwrap(), spec).unwrap();
    let mut session = agent.accept();
    session.add("uid", &world.pod("server").netns);
    Setting {
        world,
        proxy,
        _agent: agent,
        session,
    }
}

impl Setting {
    fn server(&self) -> &Netns {
        &self.world.pod("server").netns
    }

    /// Both ends' addresses, per family.
    fn families(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let [client, server] = ["client", "server"].map(|name| self.world.pod(name).addresses());
        client.iter().zip(server.iter())
    }

    /// Opens a tunnel from the client's pod, and returns it with the answer.
    fn tunnel(&self, to: IpAddr, destination: SocketAddr) -> (BufReader<TcpStream>, String) {
        let netns = &self.world.pod("client").netns;
        let mut stream = connect(netns, SocketAddr::new(to, 15008), None).unwrap();
        writeln!(stream, "STANDIN/1 CONNECT {destination} AS default/client").unwrap();
        let mut stream = BufReader::new(stream);
        let answer = line(&mut stream);
        (stream, answer)
    }

    fn record(&self, wanted: impl Fn(&Record) -> bool) -> Record {
        self.proxy.wait_for(PATIENCE, wanted).unwrap()
    }
}

#[test]
fn the_application_behind_a_tunnel_sees_the_client() {
    let setting = setting(|spec, _| spec);
    for (client, server) in setting.families() {
        let destination = SocketAddr::new(server, 8080);
        return_replies(setting.server(), server, 8080);
        let application = greet_and_echo(listen(setting.server(), destination));
        let (mut stream, answer) = setting.tunnel(server, destination);
        assert_eq!(answer, "STANDIN/1 OK");
        assert_eq!(line(&mut stream), client.to_string());
        let payload = vec![7; 1 << 20];
        assert!(send_all(&mut stream, &payload) == payload);

        let record = setting.record(|record| record.original_destination == Some(destination));
        let source = application.join().unwrap();
        assert_eq!(record.direction, Direction::Hbone);
        assert_eq!(
            (record.pod.as_deref(), record.identity.as_deref()),
            (Some("uid"), Some("default/client"))
        );
        assert_eq!(record.peer.map(|peer| peer.ip()), Some(client));
        assert_eq!(
            (record.upstream, record.upstream_source),
            (Some(destination), Some(source))
        );
        assert_eq!(
            (record.outcome, record.learnt),
            (Outcome::Connected, Some(Learnt::LocalAddress))
        );
    }
}

#[test]
fn without_original_source_the_application_sees_its_own_pod() {
    let setting = setting(|spec, _| spec.without_original_source());
    let server = setting.world.pod("server").address();
    let destination = SocketAddr::new(server, 8080);
    let _application = greet_and_echo(listen(setting.server(), destination));
    let (mut stream, answer) = setting.tunnel(server, destination);
    assert_eq!(
        (answer.as_str(), line(&mut stream)),
        ("STANDIN/1 OK", server.to_string())
    );
}

#[test]
fn a_tunnel_may_not_ask_for_another_pod_or_for_the_proxy() {
    let setting = setting(|spec, _| spec);
    let (client, server) = setting.families().next().unwrap();
    for wrong in [SocketAddr::new(client, 8080), SocketAddr::new(server, 15001)] {
        let (mut stream, answer) = setting.tunnel(server, wrong);
        assert!(answer.starts_with("STANDIN/1 NO"), "{answer}");
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        let record = setting.record(|record| record.original_destination == Some(wrong));
        assert_eq!((record.outcome, record.upstream), (Outcome::Denied, None));
    }
}

#[test]
fn a_reset_travels_through() {
    let setting = setting(|spec, _| spec);
    let server = setting.world.pod("server").address();
    let destination = SocketAddr::new(server, 8080);
    return_replies(setting.server(), server, 8080);
    let listener = listen(setting.server(), destination);
    let (mut stream, _) = setting.tunnel(server, destination);
    let (application, _) = listener.accept().unwrap();
    stream.get_mut().write_all(b"unread").unwrap();
    application.peek(&mut [0]).unwrap();
    // Closing with unread bytes resets.
    drop(application);
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_refused_connection_is_answered_and_closed() {
    let setting = setting(|spec, _| spec.without_original_source());
    let server = setting.world.pod("server").address();
    let (mut stream, answer) = setting.tunnel(server, SocketAddr::new(server, 9));
    assert!(answer.contains("refused"), "{answer}");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert_eq!(setting.record(|_| true).outcome, Outcome::Failed);
}

#[test]
fn connections_of_a_removed_pod_end_at_once() {
    let mut setting = setting(|spec, _| spec.without_original_source());
    let server = setting.world.pod("server").address();
    let destination = SocketAddr::new(server, 8080);
    let _application = greet_and_echo(listen(setting.server(), destination));
    let (mut stream, _) = setting.tunnel(server, destination);
    setting.session.request(&Request::SnapshotSent);
    assert_eq!(line(&mut stream), server.to_string());
    setting.session.request(&del("uid"));
    let patience = Some(std::time::Duration::from_secs(3));
    stream.get_mut().set_read_timeout(patience).unwrap();
    match stream.read(&mut [0]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

/// Connects from the pod to the remote host so that the connection comes to 15001, whose number the
/// destination has to have, as nothing here can send it to another port.
fn captured(setting: &Setting, destination: SocketAddr) -> BufReader<TcpStream> {
    let own = setting
        .world
        .pod("server")
        .address_like(destination.ip())
        .unwrap();
    let mark = [RuleAttribute::FwMark(MARK), RuleAttribute::FwMask(0xfff)];
    deliver_here(setting.server(), own, &mark);
    BufReader::new(connect(setting.server(), destination, Some(MARK)).unwrap())
}

#[test]
fn outbound_to_a_stranger_goes_straight_from_the_pods_address() {
    let setting = setting(|spec, _| spec);
    for remote in setting.world.remote.addresses.iter() {
        let destination = SocketAddr::new(remote, 15001);
        let own = setting.world.pod("server").address_like(remote).unwrap();
        let _application = greet_and_echo(listen(&setting.world.remote.netns, destination));
        let mut stream = captured(&setting, destination);
        assert_eq!(line(&mut stream), own.to_string());
        assert_eq!(send_all(&mut stream, b"hello"), b"hello");
        let record = setting.record(|record| record.original_destination == Some(destination));
        assert_eq!(record.direction, Direction::Outbound);
        assert_eq!(record.learnt, Some(Learnt::LocalAddress));
        assert_eq!(record.peer.map(|peer| peer.ip()), Some(own));
        assert_eq!(
            (record.upstream, record.outcome),
            (Some(destination), Outcome::Connected)
        );
    }
}

#[test]
fn outbound_to_a_member_goes_by_tunnel_from_the_moment_it_is_one() {
    let mut setting = setting(|spec, _| spec);
    let remote = setting.world.remote.addresses.iter().next().unwrap();
    let own = setting.world.pod("server").address_like(remote).unwrap();
    let destination = SocketAddr::new(remote, 15001);
    setting
        .proxy
        .set_members(vec![Member::remote("remote", [remote])])
        .unwrap();
    let listener = listen(&setting.world.remote.netns, SocketAddr::new(remote, 15008));
    let mut client = captured(&setting, destination);

    let (tunnel, peer) = listener.accept().unwrap();
    let mut tunnel = BufReader::new(tunnel);
    assert_eq!(peer.ip(), own);
    assert_eq!(
        line(&mut tunnel),
        format!("STANDIN/1 CONNECT {destination} AS default/default")
    );
    tunnel.get_mut().write_all(b"STANDIN/1 OK\nat once").unwrap();
    drop(tunnel);
    assert_eq!(line(&mut client), "at once");
    let record = setting.record(|record| record.original_destination == Some(destination));
    assert_eq!(record.upstream, Some(SocketAddr::new(remote, 15008)));
    assert_eq!(record.outcome, Outcome::Connected);
}

#[test]
fn a_direct_call_to_the_proxy_is_denied() {
    let setting = setting(|spec, _| spec);
    let server = setting.world.pod("server").address();
    for (to, direction) in [
        ("127.0.0.1:15001".parse().unwrap(), Direction::Outbound),
        (SocketAddr::new(server, 15001), Direction::Outbound),
        (SocketAddr::new(server, 15006), Direction::Inbound),
    ] {
        let mut stream = connect(setting.server(), to, None).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{to}");
        let record = setting.record(|record| record.original_destination == Some(to));
        assert_eq!((record.direction, record.outcome), (direction, Outcome::Denied));
    }
}

#[test]
fn it_starts_in_the_cgroup_it_is_told() {
    let cgroup = weir_testbeds::cgroup::Cgroup::new("standin").unwrap();
    let setting = setting(|spec, _| spec.cgroup(cgroup.path()));
    assert_eq!(cgroup.members().unwrap(), [setting.proxy.id().unwrap()]);
}
