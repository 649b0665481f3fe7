//! What happens where the detour cannot be made: nothing leaves the pod in clear.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use weir_common::address::Address;
use weir_common::detour::{ClientEnd, Original};
use weir_common::reason::Reason;
use weir_testbeds::actor::Error;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::proxy::{Direction, Learnt};
use weir_testbeds::traffic::{Cause, ClientSpec, Step};

use crate::scene::{Scene, ZTUNNEL};

#[test]
fn without_an_address_of_ztunnel_the_connection_is_refused() {
    let mut scene = Scene::detoured("detour-family");
    scene.enrol(&scene.client, [ZTUNNEL[0], "::"]);
    let [v4, v6] = scene.servers();
    scene.actor.exchange(&ClientSpec::to(v4)).unwrap();
    let Err(Error::Failed(failure)) = scene.actor.exchange(&ClientSpec::to(v6)) else {
        panic!("it was not refused");
    };
    assert_eq!(
        (failure.step, failure.cause),
        (Step::Connect, Cause::NotPermitted)
    );
    assert_eq!(scene.count(Reason::NoDetour), 1);
    assert_eq!(scene.server.connections().len(), 1);
}

#[test]
fn without_ztunnel_nothing_reaches_the_server() {
    let mut scene = Scene::detoured("detour-gone");
    scene.proxy.kill();
    for to in scene.servers() {
        let refused = scene.actor.exchange(&ClientSpec::to(to)).unwrap_err();
        assert!(matches!(refused, Error::Failed(failure) if failure.cause == Cause::Refused));
    }
    assert_eq!(scene.server.connections(), []);
    scene.wait_for_nothing_remembered();
    scene.proxy.restart().unwrap();
    scene.proxy.wait_ready(PATIENCE).unwrap();
    scene.actor.exchange(&ClientSpec::to(scene.servers()[0])).unwrap();
}

/// From outside the cgroup the connect hook is not asked, as it is not where somebody removed it.
#[test]
fn a_connection_that_nobody_noted_goes_nowhere() {
    let scene = Scene::detoured("detour-unnoted");
    for address in ZTUNNEL {
        let to = SocketAddr::new(address.parse().unwrap(), 15001);
        let mut stream = scene.client.netns.run(|| TcpStream::connect(to)).unwrap();
        let end = stream.read(&mut [0]);
        assert!(
            matches!(&end, Ok(0))
                || end
                    .as_ref()
                    .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
            "{end:?}"
        );
        let local = stream.local_addr().unwrap();
        let record = scene
            .proxy
            .wait_for(PATIENCE, |record| record.peer == Some(local))
            .unwrap();
        assert_eq!(
            (record.direction, record.learnt),
            (Direction::Outbound, Some(Learnt::LocalAddress))
        );
    }
    assert_eq!(scene.count(Reason::OriginalUnknown), 2);
    assert_eq!(scene.server.connections(), []);
}

/// A connection that failed leaves nothing that a later one from the same port could be sent by.
#[test]
fn a_port_that_is_used_again_goes_where_it_says() {
    let mut scene = Scene::detoured("detour-port");
    let (servers, sources) = (scene.servers(), scene.client.addresses);
    for (to, source) in servers.into_iter().zip(sources) {
        let from = SocketAddr::new(source, 40_001);
        let elsewhere = SocketAddr::new(to.ip(), 1);
        let mut spec = ClientSpec::to(elsewhere).from_port(from);
        spec.reuse_address = true;
        // ztunnel accepts and fails to connect.
        scene.actor.exchange(&spec).unwrap_err();
        scene.wait_for_nothing_remembered();
        spec.to = to;
        let seen = scene.actor.exchange(&spec).unwrap();
        assert_eq!(seen.peer, to);
    }
}

/// The oldest make room: a new connection always finds its way.
#[test]
fn a_full_map_of_destinations_keeps_the_newest() {
    let mut scene = Scene::detoured("detour-full");
    let mut originals = scene.datapath.maps().originals().unwrap();
    let stale: IpAddr = "203.0.113.9".parse().unwrap();
    for port in 0..20_000 {
        let end = ClientEnd {
            address: stale.into(),
            port,
        };
        originals.insert(end, Original::default(), 0).unwrap();
    }
    for to in scene.servers() {
        for _ in 0..10 {
            let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
            assert_eq!(seen.peer, to);
        }
    }
    assert_eq!(scene.count(Reason::OriginalUnknown), 0);
    let left = originals.keys().filter_map(Result::ok);
    assert!(left.into_iter().all(|end| end.address == Address::from(stale)));
}

/// Without the connect hook, because somebody has removed it, connections are not turned any more.
#[test]
fn what_was_not_turned_never_leaves_the_pod() {
    let mut scene = Scene::detoured("detour-unturned");
    for program in ["weir_detour4", "weir_detour6"] {
        std::fs::remove_file(scene.datapath.pins().link(program)).unwrap();
    }
    for to in scene.servers() {
        let spec = ClientSpec::to(to).deadline(Duration::from_millis(300));
        let Err(Error::Failed(failure)) = scene.actor.exchange(&spec) else {
            panic!("it reached the server");
        };
        assert_eq!(failure.step, Step::Connect, "{failure}");
    }
    assert_eq!(scene.server.connections(), []);
    scene.attach();
    scene.actor.exchange(&ClientSpec::to(scene.servers()[0])).unwrap();
    assert_eq!(scene.count(Reason::Undetoured), 2);
}
