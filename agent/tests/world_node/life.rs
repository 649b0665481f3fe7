//! Connections and the data plane while pods, agents and ztunnels come and go.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use weir_agent::datapath::{Hook, Pins};
use weir_testbeds::capture::Capture;
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::{Builder, Mesh, ZTUNNEL};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Direction, ProxyKind};
use weir_testbeds::traffic::{Client, ClientSpec, Connection, Exchange, Load, Server};
use weir_testbeds::world::Wiring;

use crate::scene::{assert_captured, assert_direct, builder, by, exchange, of_pod, of_remote, serve};
use crate::state::state;
use crate::tally::Tally;

on_every_wiring! {
    connections_open_at_enrolment_and_at_release_go_on,
    under_load_the_agent_is_killed_and_the_next_adopts_what_is_there,
    under_load_ztunnel_dies_and_nothing_passes_in_clear_until_it_is_back,
    under_load_another_ztunnel_takes_over_and_old_connections_stay,
    a_pod_that_is_deleted_under_load_leaves_nothing,
}

const QUICK: Duration = Duration::from_millis(500);

/// An exchange, if there is a way now.
pub fn quickly(from: &Netns, to: SocketAddr) -> Option<Exchange> {
    Client::exchange(from, &ClientSpec::to(to).deadline(QUICK)).ok()
}

/// The same by the client.
pub fn try_quickly(mesh: &Mesh, to: SocketAddr) -> Option<Exchange> {
    quickly(&mesh.pod("client").netns, to)
}

fn connections_open_at_enrolment_and_at_release_go_on(wiring: Wiring) {
    open_connections_go_on(&Kind::of(wiring));
}

pub fn open_connections_go_on(kind: &Kind) {
    let mut mesh = kind.mesh("node-relabel");
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("client").netns);
    mesh.relabel("client", false).unwrap();
    let to = of_remote(&mesh);
    let inward = of_pod(&mesh, "client");
    let connect = |mesh: &Mesh, to| Client::connect(&mesh.pod("client").netns, &ClientSpec::to(to)).unwrap();
    let call = |mesh: &Mesh, to| Client::connect(&mesh.world.remote.netns, &ClientSpec::to(to)).unwrap();
    let mut direct: Vec<_> = to.iter().map(|to| connect(&mesh, *to)).collect();
    direct.extend(inward.iter().map(|to| call(&mesh, *to)));
    for open in &direct {
        assert_direct(open.report());
    }
    mesh.relabel("client", true).unwrap();
    for open in &mut direct {
        open.exchange(b"still there?").unwrap();
    }
    let mut captured: Vec<_> = to.iter().map(|to| connect(&mesh, *to)).collect();
    let seen: Vec<_> = captured.iter().map(|open| open.report().clone()).collect();
    kind.assert_all_captured(&mesh, &seen);
    mesh.relabel("client", false).unwrap();
    for open in direct.iter_mut().chain(&mut captured) {
        open.exchange(b"and now?").unwrap();
    }
    assert_direct(&exchange(&mesh.pod("client").netns, to[0]));
    mesh.relabel("client", true).unwrap();
    for open in direct.iter_mut().chain(&mut captured) {
        open.exchange(b"and again?").unwrap();
    }
}

/// A kind of pods whose life is tried.
pub struct Kind {
    pub wiring: Wiring,
    pub builder: fn(&str) -> Builder,
    /// What they open is made to ztunnel in the first place, so servers see ztunnel.
    pub detoured: bool,
}

impl Kind {
    fn of(wiring: Wiring) -> Self {
        let builder = match wiring {
            Wiring::Bridge => |name: &str| builder(name, Wiring::Bridge),
            _ => |name: &str| builder(name, Wiring::PointToPoint),
        };
        Self {
            wiring,
            builder,
            detoured: false,
        }
    }

    fn mesh(&self, name: &str) -> Mesh {
        let kind = ProxyKind::stand_in().unwrap();
        (self.builder)(name).proxy_kind(kind).start().unwrap()
    }

    /// All of them went through a ztunnel, and kept the client's address where they can.
    fn assert_all_captured(&self, mesh: &Mesh, seen: &[Exchange]) {
        assert!(!seen.is_empty());
        for seen in seen {
            assert!(seen.was_captured(), "{seen:?}");
            let outward = mesh.world.remote.address_like(seen.peer.ip()) == Some(seen.peer.ip());
            if !(self.detoured && outward) {
                assert_eq!(seen.server.peer.ip(), seen.local.ip(), "{seen:?}");
            }
        }
    }
}

/// Connections in both directions and families: of the client, and to the server.
fn ways(mesh: &Mesh) -> Vec<(Netns, SocketAddr)> {
    let (client, remote) = (&mesh.pod("client").netns, &mesh.world.remote.netns);
    let out = of_remote(mesh).into_iter().map(|to| (client.clone(), to));
    let inward = of_pod(mesh, "server").into_iter().map(|to| (remote.clone(), to));
    out.chain(inward).collect()
}

fn load(mesh: &Mesh, deadline: Duration) -> Load {
    let ways = ways(mesh).into_iter();
    Load::start(ways.map(|(from, to)| (from, ClientSpec::to(to).deadline(deadline))))
}

fn go_on(load: &Load, more: u64) {
    load.go_on(more, PATIENCE).unwrap();
}

/// One connection each way, to be kept.
fn hold(mesh: &Mesh) -> Vec<Connection> {
    let ways = ways(mesh).into_iter();
    ways.map(|(from, to)| Client::connect(&from, &ClientSpec::to(to)).unwrap())
        .collect()
}

fn assert_open(held: &mut [Connection]) {
    held.iter_mut()
        .for_each(|held| held.exchange(b"still there?").unwrap());
}

fn all_well(load: Load) -> Vec<Exchange> {
    let results = load.finish().into_iter();
    results
        .map(|result| result.unwrap_or_else(|failure| panic!("{failure}")))
        .collect()
}

fn under_load_the_agent_is_killed_and_the_next_adopts_what_is_there(wiring: Wiring) {
    the_agent_is_killed(&Kind::of(wiring));
}

pub fn the_agent_is_killed(kind: &Kind) {
    let mut mesh = kind.mesh("node-kill");
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    let mut held = hold(&mesh);
    let load = load(&mesh, PATIENCE);
    go_on(&load, 16);
    mesh.agent.kill();
    go_on(&load, 16);
    mesh.agent.restart().unwrap();
    mesh.settled().unwrap();
    go_on(&load, 16);
    kind.assert_all_captured(&mesh, &all_well(load));
    assert_open(&mut held);
}

/// Nothing leads to its namespace when the next agent starts, so that agent must not take it for one that is gone.
#[test]
fn a_pod_that_is_not_found_again_stays_captured() {
    for hook in [Hook::of_this_kernel(), Hook::Clsact] {
        let builder = builder("node-lost", Wiring::PointToPoint).flag(&by(hook));
        let mut mesh = builder.start().unwrap();
        let _server = serve(&mesh.world.remote.netns);
        mesh.agent.kill();
        mesh.change("client", |line| line.netns.clear()).unwrap();
        mesh.agent.restart().unwrap();
        mesh.wait_state("server", "enrolled").unwrap();
        // What is gone is looked for once each pod has been tried.
        let tried = || mesh.agent.output_since_start().matches("trying again").count();
        eventually(PATIENCE, || (tried() > 4).then_some(())).unwrap();
        for to in of_remote(&mesh) {
            let seen = exchange(&mesh.pod("client").netns, to);
            assert_captured(&mesh, Direction::Outbound, &seen);
        }
    }
}

fn under_load_ztunnel_dies_and_nothing_passes_in_clear_until_it_is_back(wiring: Wiring) {
    ztunnel_dies(&Kind::of(wiring));
}

pub fn ztunnel_dies(kind: &Kind) {
    let mut mesh = kind.mesh("node-closed");
    let server = serve(&mesh.world.remote.netns);
    let application = serve(&mesh.pod("server").netns);
    let load = load(&mesh, QUICK / 5);
    go_on(&load, 16);
    mesh.proxy.kill();
    let refused = |pod| count(&mesh, pod, "no_ztunnel") > 0;
    eventually(PATIENCE, || {
        (refused("client") && refused("server")).then_some(())
    })
    .unwrap();
    let mut seen: Vec<Exchange> = load.results().into_iter().flatten().collect();
    let came = |server: &Server| server.connections().len();
    let before = (came(&server), came(&application));
    let leaving = Capture::start(&mesh.world.node.netns, &mesh.world.node.interface).unwrap();
    go_on(&load, 16);
    assert_eq!(load.results().iter().filter(|result| result.is_ok()).count(), 0);
    assert_eq!((came(&server), came(&application)), before);
    let mut sent = leaving.frames().into_iter().filter(|frame| frame.outgoing);
    let syn = sent.find(|frame| frame.tcp.is_some_and(|tcp| tcp.flags.syn && !tcp.flags.ack));
    assert_eq!(syn, None, "left the node without a ztunnel");
    mesh.proxy.restart().unwrap();
    for (from, to) in ways(&mesh) {
        eventually(PATIENCE, || quickly(&from, to)).unwrap();
    }
    seen.extend(load.finish().into_iter().flatten());
    kind.assert_all_captured(&mesh, &seen);
}

/// How often it came to this for the pod's connections, as `weir status` tells.
pub fn count(mesh: &Mesh, pod: &str, reason: &str) -> u64 {
    let output = mesh.agent.run("status", &[pod, "-o", "json"]).unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let reasons = status["reasons"].as_array().unwrap();
    let found = reasons.iter().find(|counted| counted["reason"] == reason);
    found.map_or(0, |counted| counted["count"].as_u64().unwrap())
}

#[test]
fn open_to_failure_if_asked_for() {
    let mut mesh = builder("node-open", Wiring::PointToPoint)
        .flag("--fail-open")
        .start()
        .unwrap();
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    for (from, to) in ways(&mesh) {
        let seen = exchange(&from, to);
        assert!(seen.was_captured(), "{seen:?}");
    }
    mesh.proxy.kill();
    for (from, to) in ways(&mesh) {
        assert_direct(&eventually(PATIENCE, || quickly(&from, to)).unwrap());
    }
    for pod in ["client", "server"] {
        assert!(count(&mesh, pod, "fail_open") >= 2, "{pod}");
    }
}

fn under_load_another_ztunnel_takes_over_and_old_connections_stay(wiring: Wiring) {
    another_ztunnel_takes_over(&Kind::of(wiring));
}

pub fn another_ztunnel_takes_over(kind: &Kind) {
    let mut mesh = kind.mesh("node-upgrade");
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    let mut held = hold(&mesh);
    let load = load(&mesh, PATIENCE);
    go_on(&load, 16);
    let cgroup = Cgroup::new("ztunnel").unwrap();
    let newer = mesh.another_ztunnel("ztunnel-2", kind.wiring, &cgroup).unwrap();
    for direction in [Direction::Outbound, Direction::Inbound] {
        let reached = newer.wait_for(PATIENCE, |record| record.direction == direction);
        reached.unwrap();
    }
    // What began with the old one may still be told of.
    go_on(&load, 8);
    let before = mesh.proxy.connections().len();
    go_on(&load, 16);
    assert_eq!(
        mesh.proxy.connections().len(),
        before,
        "the old one took new connections"
    );
    assert_open(&mut held);
    mesh.proxy.kill();
    go_on(&load, 16);
    kind.assert_all_captured(&mesh, &all_well(load));
}

fn a_pod_that_is_deleted_under_load_leaves_nothing(wiring: Wiring) {
    pods_are_deleted(&Kind::of(wiring));
}

pub fn pods_are_deleted(kind: &Kind) {
    let mut mesh = kind.mesh("node-gone");
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    let (node, ztunnel) = (mesh.world.node.netns.clone(), mesh.proxy_netns().clone());
    let interfaces = || {
        let listed = node.netlink(async |netlink| netlink.interfaces().await);
        listed.unwrap().len()
    };
    let before = (interfaces(), state(&ztunnel));
    let tallies = [Tally::of(&mesh, "client"), Tally::of(&mesh, "server")];
    let stays = Tally::of(&mesh, ZTUNNEL).entries();
    let gone = ["client", "server"].map(|pod| mesh.pod(pod).clone());
    let load = load(&mesh, QUICK);
    go_on(&load, 16);
    for (pod, tally) in ["client", "server"].iter().zip(&tallies) {
        assert!(tally.entries().len() >= 8, "{:?}", tally.entries());
        mesh.world.remove_pod(pod).unwrap();
        mesh.unlist(pod).unwrap();
    }
    for tally in &tallies {
        eventually(PATIENCE, || tally.entries().is_empty().then_some(()))
            .unwrap_or_else(|late| panic!("{late}: {:?}", tally.entries()));
    }
    load.finish();
    assert_eq!(Tally::of(&mesh, ZTUNNEL).entries(), stays);
    let peers = gone.iter().filter(|pod| pod.host_interface().is_some()).count();
    assert_eq!((interfaces() + peers, state(&ztunnel)), before);
    let pins = Pins::new(mesh.agent.pin_root()).pods();
    assert_eq!(fs::read_dir(pins).unwrap().count(), 0);
}
