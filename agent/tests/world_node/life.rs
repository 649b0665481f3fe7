//! Connections and the data plane while pods, agents and ztunnels come and go.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use weir_agent::datapath::Hook;
use weir_testbeds::capture::Capture;
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::Direction;
use weir_testbeds::traffic::{Client, ClientSpec, Exchange};
use weir_testbeds::world::Wiring;

use crate::scene::{
    assert_captured, assert_direct, builder, by, exchange, mesh, mesh_of_the_stand_in, of_pod, of_remote,
    serve,
};

on_every_wiring! {
    connections_open_at_enrolment_and_at_release_go_on,
    connections_go_on_without_an_agent_and_are_adopted_by_the_next,
    without_ztunnel_nothing_leaves_in_clear_and_its_return_mends_all,
    another_ztunnel_takes_over_and_old_connections_stay,
    a_pod_that_goes_under_load_leaves_nothing,
    cleaning_up_leaves_nothing,
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
    let mut mesh = mesh_of_the_stand_in("node-relabel", wiring);
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
    for open in &captured {
        assert_captured(&mesh, Direction::Outbound, open.report());
    }
    mesh.relabel("client", false).unwrap();
    for open in direct.iter_mut().chain(&mut captured) {
        open.exchange(b"and now?").unwrap();
    }
    assert_direct(&exchange(&mesh.pod("client").netns, to[0]));
}

fn connections_go_on_without_an_agent_and_are_adopted_by_the_next(wiring: Wiring) {
    let mut mesh = mesh("node-kill", wiring);
    let _server = serve(&mesh.world.remote.netns);
    let to = of_remote(&mesh)[0];
    let mut open = Client::connect(&mesh.pod("client").netns, &ClientSpec::to(to)).unwrap();
    mesh.agent.kill();
    open.exchange(b"no agent").unwrap();
    assert_captured(
        &mesh,
        Direction::Outbound,
        &exchange(&mesh.pod("client").netns, to),
    );
    mesh.agent.restart().unwrap();
    mesh.settled().unwrap();
    open.exchange(b"another agent").unwrap();
    assert_captured(
        &mesh,
        Direction::Outbound,
        &exchange(&mesh.pod("client").netns, to),
    );
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

fn without_ztunnel_nothing_leaves_in_clear_and_its_return_mends_all(wiring: Wiring) {
    let mut mesh = mesh("node-closed", wiring);
    let server = serve(&mesh.world.remote.netns);
    let to = of_remote(&mesh)[0];
    let leaving = Capture::start(&mesh.world.node.netns, &mesh.world.node.interface).unwrap();
    mesh.proxy.kill();
    assert_eq!(try_quickly(&mesh, to), None);
    eventually(PATIENCE, || {
        try_quickly(&mesh, to).is_none().then_some(())?;
        (count(&mesh, "client", "no_ztunnel") > 0).then_some(())
    })
    .unwrap();
    assert!(server.connections().is_empty());
    assert!(leaving.tcp_syns().is_empty(), "{:?}", leaving.tcp_syns());
    mesh.proxy.restart().unwrap();
    let seen = eventually(PATIENCE, || try_quickly(&mesh, to)).unwrap();
    assert_captured(&mesh, Direction::Outbound, &seen);
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
    let to = of_remote(&mesh)[0];
    assert_captured(
        &mesh,
        Direction::Outbound,
        &exchange(&mesh.pod("client").netns, to),
    );
    mesh.proxy.kill();
    assert_direct(&eventually(PATIENCE, || try_quickly(&mesh, to)).unwrap());
    assert!(count(&mesh, "client", "fail_open") > 0);
}

fn another_ztunnel_takes_over_and_old_connections_stay(wiring: Wiring) {
    let mut mesh = mesh("node-upgrade", wiring);
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    let (to, inward) = (of_remote(&mesh)[0], of_pod(&mesh, "server")[0]);
    let mut old = [
        Client::connect(&mesh.pod("client").netns, &ClientSpec::to(to)).unwrap(),
        Client::connect(&mesh.world.remote.netns, &ClientSpec::to(inward)).unwrap(),
    ];
    let cgroup = Cgroup::new("ztunnel").unwrap();
    let newer = mesh.another_ztunnel("ztunnel-2", wiring, &cgroup).unwrap();
    eventually(PATIENCE, || {
        exchange(&mesh.pod("client").netns, to);
        (!newer.connections().is_empty()).then_some(())
    })
    .unwrap();
    old.iter_mut()
        .for_each(|open| open.exchange(b"still with the old one").unwrap());
    let before = mesh.proxy.connections().len();
    for _ in 0..10 {
        exchange(&mesh.pod("client").netns, to);
        exchange(&mesh.world.remote.netns, inward);
    }
    assert_eq!(
        mesh.proxy.connections().len(),
        before,
        "the old one took new connections"
    );
    mesh.proxy.kill();
    exchange(&mesh.pod("client").netns, to);
}

fn a_pod_that_goes_under_load_leaves_nothing(wiring: Wiring) {
    let mut mesh = mesh("node-gone", wiring);
    let _server = serve(&mesh.world.remote.netns);
    let to = of_remote(&mesh)[0];
    let _open = Client::connect(&mesh.pod("client").netns, &ClientSpec::to(to)).unwrap();
    mesh.world.remove_pod("client").unwrap();
    mesh.unlist("client").unwrap();
    let pods = mesh.agent.pin_root().join("v1/pods");
    eventually(PATIENCE, || {
        (fs::read_dir(&pods).unwrap().count() == 1).then_some(())
    })
    .unwrap();
    let seen = Client::exchange(&mesh.pod("server").netns, &ClientSpec::to(to));
    assert_captured(&mesh, Direction::Outbound, &seen.unwrap());
}

fn cleaning_up_leaves_nothing(wiring: Wiring) {
    let mut mesh = mesh("node-clean", wiring);
    let _server = serve(&mesh.world.remote.netns);
    let to = of_remote(&mesh)[0];
    assert_captured(
        &mesh,
        Direction::Outbound,
        &exchange(&mesh.pod("client").netns, to),
    );
    mesh.agent.terminate().unwrap();
    let output = mesh.agent.run("cleanup", &[]).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!mesh.agent.pin_root().exists());
    assert_direct(&exchange(&mesh.pod("client").netns, to));
    let resting = |netns: &Netns| netns.sysctl_get("net.ipv4.tcp_max_tw_buckets").unwrap();
    assert_eq!(resting(mesh.proxy_netns()), resting(&mesh.world.node.netns));
    for family in ["-4", "-6"] {
        let rules = in_ztunnel(&mesh, &["ip", family, "rule"]);
        assert!(!rules.contains("0x400"), "{rules}");
        let routes = in_ztunnel(&mesh, &["ip", family, "route", "show", "table", "all"]);
        assert!(!routes.contains("1464158546"), "{routes}");
    }
}

fn in_ztunnel(mesh: &Mesh, words: &[&str]) -> String {
    let mut command = std::process::Command::new(words[0]);
    command.args(&words[1..]);
    let output = mesh.proxy_netns().run(|| command.output()).unwrap();
    String::from_utf8(output.stdout).unwrap()
}
