//! Proxies that die, follow one another, overlap, or were there first.

use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use weir_common::listener::SLOTS;
use weir_common::reason::Reason;
use weir_testbeds::capture::Capture;
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Direction, Proxy};
use weir_testbeds::traffic::{Cause, Client, Exchange, Failure, Step};
use weir_testbeds::world::{Family, Wiring};

use crate::support::{PATIENCE, counted, exchange, maps, serve, spec, wait};

const HBONE: u16 = 15008;

fn builder(name: &str) -> Builder {
    Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
}

fn start(name: &str) -> Mesh {
    builder(name).start().unwrap()
}

fn destinations(mesh: &Mesh) -> Vec<IpAddr> {
    mesh.pod("server").addresses().iter().collect()
}

/// Connects, and says that this proxy took the connection.
fn goes_through(mesh: &Mesh, proxy: &Proxy, to: IpAddr) {
    let seen = exchange(&mesh.pod("client").netns, to);
    assert!(seen.was_captured());
    let is_this = |record: &weir_testbeds::proxy::Record| {
        record.direction == Direction::Outbound && record.peer == Some(seen.local)
    };
    proxy.wait_for(PATIENCE, is_this).unwrap();
}

/// The kernel refuses such a connection, or leaves it without an answer; it reaches nobody.
fn fails_closed(mesh: &Mesh, to: IpAddr) {
    let client = &mesh.pod("client").netns;
    let patience = Duration::from_millis(300);
    let failure = Client::exchange(client, &spec(to).deadline(patience)).unwrap_err();
    assert!(is_closed(&failure), "{failure}");
}

fn is_closed(failure: &Failure) -> bool {
    failure.step == Step::Connect && matches!(failure.cause, Cause::Refused | Cause::TimedOut)
}

/// Connects until that works; says how often it was tried.
fn insist(client: &Netns, to: IpAddr) -> (Exchange, u64) {
    for attempt in 1.. {
        match Client::exchange(client, &spec(to)) {
            Ok(seen) => return (seen, attempt),
            // One side's proxy may be there before the other's.
            Err(failure) => assert!(is_closed(&failure) || failure.step == Step::Greeting, "{failure}"),
        }
    }
    unreachable!("attempts do not run out")
}

#[test]
fn between_two_proxies_nothing_leaves_in_clear() {
    let mut mesh = start("replaced");
    let to = destinations(&mesh);
    let _servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
    let client = mesh.pod("client").netns.clone();
    let on_wire = Capture::start(&client, "eth0").unwrap();
    mesh.proxy.kill();
    let captured_before = counted(&mesh, &client, Reason::Outbound);
    let waiting: Vec<_> = to
        .iter()
        .map(|&to| {
            let client = client.clone();
            thread::spawn(move || insist(&client, to))
        })
        .collect();
    wait("connections meet no listener", || {
        counted(&mesh, &client, Reason::NoListener) >= to.len() as u64
    });
    let cgroup = Cgroup::new("successor").unwrap();
    let successor = mesh.another_proxy(Some(&cgroup)).unwrap();
    let mut attempts = 0;
    for waiting in waiting {
        let (seen, tried) = waiting.join().unwrap();
        assert!(seen.was_captured());
        attempts += tried;
    }
    for &to in &to {
        goes_through(&mesh, &successor, to);
    }
    for syn in on_wire.tcp_syns() {
        assert_eq!(syn.destination.port(), HBONE, "left the pod in clear: {syn:?}");
    }
    // Each connection of the client's is counted once, the successor's own not at all: it was known in time.
    let captured = counted(&mesh, &client, Reason::Outbound) - captured_before;
    assert_eq!(captured, attempts + to.len() as u64);
    drop(successor);
}

#[test]
fn when_the_newer_of_two_proxies_dies_the_older_takes_over() {
    let mut mesh = start("overlap");
    let to = destinations(&mesh);
    let _servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
    let cgroup = Cgroup::new("newer").unwrap();
    for _ in 0..5 {
        let newer = mesh.another_proxy(Some(&cgroup)).unwrap();
        newer.wait_ready(PATIENCE).unwrap();
        for &to in &to {
            goes_through(&mesh, &newer, to);
        }
        drop(newer);
        for &to in &to {
            goes_through(&mesh, &mesh.proxy, to);
        }
    }
    mesh.proxy.kill();
    for to in to {
        fails_closed(&mesh, to);
    }
}

/// Four are remembered: the newest, and what comes to those before them once these are gone is mended.
#[test]
fn more_proxies_at_once_than_are_remembered() {
    let mesh = start("many-at-once");
    let to = destinations(&mesh);
    let _servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
    let cgroup = Cgroup::new("newer").unwrap();
    let mut newer = Vec::new();
    for _ in 0..SLOTS + 1 {
        let proxy = mesh.another_proxy(Some(&cgroup)).unwrap();
        proxy.wait_ready(PATIENCE).unwrap();
        newer.push(proxy);
    }
    while let Some(newest) = newer.pop() {
        if newer.is_empty() {
            // Whether that is mended already or not, nothing leaves in clear.
            let (seen, _) = insist(&mesh.pod("client").netns, to[0]);
            assert!(!seen.went_straight());
            let verified = mesh.agent.run("verify", &[]).unwrap();
            assert_eq!(verified.status.code(), Some(0), "{verified:?}");
        }
        for &to in &to {
            goes_through(&mesh, &newest, to);
        }
    }
}

/// Cgroups of ztunnels that are gone are kept until there is no room for another's.
#[test]
fn a_proxy_is_known_although_many_were_before_it() {
    const ROOM: u64 = 3;
    let mesh = builder("many-before").flag("--max-ztunnels=3").start().unwrap();
    let to = destinations(&mesh);
    let _servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
    let mut known = maps(&mesh).ztunnels().unwrap();
    let gone = (1 << 40..).find(|id| known.insert(id, 1, 0).is_err()).unwrap();
    assert_eq!(gone - (1 << 40), ROOM - 1, "one is the first proxy's");
    let cgroup = Cgroup::new("newer").unwrap();
    let newer = mesh.another_proxy(Some(&cgroup)).unwrap();
    newer.wait_ready(PATIENCE).unwrap();
    for &to in &to {
        goes_through(&mesh, &newer, to);
    }
    drop(newer);
    for &to in &to {
        goes_through(&mesh, &mesh.proxy, to);
    }
    assert!(known.get(&(gone - 1), 0).is_err(), "there was room");
}

#[test]
fn proxies_that_listened_before_the_agent_came_are_found() {
    let mut mesh = start("takeover");
    let to = destinations(&mesh);
    let _servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
    let cgroup = Cgroup::new("newer").unwrap();
    let newer = mesh.another_proxy(Some(&cgroup)).unwrap();
    newer.wait_ready(PATIENCE).unwrap();
    let (older_id, newer_id) = (mesh.proxy.id(), newer.id());
    mesh.agent.kill();
    fs::remove_dir_all(mesh.agent.pin_root()).unwrap();
    mesh.agent.restart().unwrap();
    mesh.settled().unwrap();
    // Port 15008 is shared, so either may be met there; whoever has not come back yet is a stranger.
    for proxy in [&mesh.proxy, &newer] {
        proxy.wait_ready(PATIENCE).unwrap();
    }
    for &to in &to {
        assert!(exchange(&mesh.pod("client").netns, to).was_captured());
    }
    assert_eq!((mesh.proxy.id(), newer.id()), (older_id, newer_id));
    let listeners = || maps(&mesh).listeners().unwrap().keys().flatten().count();
    // Two proxies, two pods, two ports.
    wait("all listeners are known", || listeners() == 8);
    for &to in &to {
        goes_through(&mesh, &newer, to);
    }
    drop(newer);
    for &to in &to {
        goes_through(&mesh, &mesh.proxy, to);
    }
}
