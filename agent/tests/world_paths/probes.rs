//! The node's own processes probe pods uncaptured; everybody else on the node's network is captured.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use weir_common::reason::Reason;
use weir_testbeds::actor::Actor;
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Direction, Record};
use weir_testbeds::traffic::{Client, ClientSpec};
use weir_testbeds::world::Wiring;

use crate::scene::{PORT, any, assert_direct, assert_inbound, builder, exchange, mesh, serve};
use crate::tally::Tally;

on_reachable_wirings! {
    the_node_probes_pods_with_its_own_address,
    pods_on_the_nodes_network_are_captured,
    any_host_process_may_probe_if_asked_for,
    a_chosen_port_is_captured_even_after_a_probe_from_it,
    what_comes_by_a_node_port_is_captured,
    a_pass_that_was_never_given_back_ends,
    a_probe_passes_beside_captured_traffic,
}

const NODE_PORT: u16 = 30080;

/// The pods' cgroup with one pod in it; the pod's goes first.
struct Cgroups {
    pod: Cgroup,
    pods: Cgroup,
}

impl Cgroups {
    fn new() -> Self {
        let pods = Cgroup::new("kubepods").unwrap();
        let pod = pods.child("pod").unwrap();
        Self { pod, pods }
    }

    fn mesh(&self, name: &str, wiring: Wiring, flags: &[&str]) -> Mesh {
        let mut builder = builder(name, wiring)
            .flag("--pods-cgroup")
            .flag(self.pods.path().to_str().unwrap());
        for flag in flags {
            builder = builder.flag(flag);
        }
        builder.start().unwrap()
    }
}

fn targets(mesh: &Mesh) -> impl Iterator<Item = SocketAddr> + use<> {
    let addresses = mesh.pod("server").addresses();
    addresses.iter().map(|address| SocketAddr::new(address, PORT))
}

fn the_node_probes_pods_with_its_own_address(wiring: Wiring) {
    let cgroups = Cgroups::new();
    let mesh = cgroups.mesh("probe", wiring, &[]);
    let _server = serve(&mesh.pod("server").netns, any(PORT));
    for to in targets(&mesh) {
        assert_direct(&exchange(&mesh.world.node.netns, to));
        if to.is_ipv4() {
            let mapped = ClientSpec::to(to).v4_mapped();
            assert_direct(&Client::exchange(&mesh.world.node.netns, &mapped).unwrap());
        }
    }
    let counted = Tally::of(&mesh, "server").count(Reason::Probe);
    assert_eq!(counted, 3, "each once");
    assert_eq!(mesh.proxy.connections(), [], "the proxy took part");
}

fn pods_on_the_nodes_network_are_captured(wiring: Wiring) {
    let cgroups = Cgroups::new();
    let mesh = cgroups.mesh("host-pod", wiring, &[]);
    let mut pod = Actor::start(&mesh.world.node.netns, Some(&cgroups.pod)).unwrap();
    let _server = serve(&mesh.pod("server").netns, any(PORT));
    for to in targets(&mesh) {
        assert_inbound(&mesh, &pod.exchange(&ClientSpec::to(to)).unwrap());
    }
}

fn any_host_process_may_probe_if_asked_for(wiring: Wiring) {
    let cgroups = Cgroups::new();
    let mesh = cgroups.mesh("any-process", wiring, &["--probes", "any-host-process"]);
    let mut pod = Actor::start(&mesh.world.node.netns, Some(&cgroups.pod)).unwrap();
    let _server = serve(&mesh.pod("server").netns, any(PORT));
    for to in targets(&mesh) {
        assert_direct(&pod.exchange(&ClientSpec::to(to)).unwrap());
    }
}

/// As a NodePort does: the source is the node's, the port one that somebody else has used before.
fn a_chosen_port_is_captured_even_after_a_probe_from_it(wiring: Wiring) {
    let cgroups = Cgroups::new();
    let mesh = cgroups.mesh("node-port", wiring, &[]);
    let node = &mesh.world.node;
    let mut proxy = Actor::start(&node.netns, Some(&cgroups.pod)).unwrap();
    let _server = serve(&mesh.pod("server").netns, any(PORT));
    for to in targets(&mesh) {
        let seen = exchange(&node.netns, to);
        let source = SocketAddr::new(seen.local.ip(), 20_000);
        let spec = ClientSpec::to(to).from_port(source);
        let probe = Client::prepare(&node.netns, &spec).unwrap();
        // A reset, so that the port is free at once.
        probe.socket().set_linger(Some(Duration::ZERO)).unwrap();
        let probe = probe.finish().unwrap();
        assert_direct(probe.report());
        drop(probe);
        // The kernel may still be about to give the port back.
        let seen = eventually(PATIENCE, || proxy.exchange(&spec).ok()).unwrap();
        assert_eq!(seen.local, source);
        assert_inbound(&mesh, &seen);
    }
}

/// The node hands a port of its own to the pod, and takes the client's place, as kube-proxy does; with a port that the
/// kernel chooses, and with one that a probe has just come from.
fn what_comes_by_a_node_port_is_captured(wiring: Wiring) {
    let cgroups = Cgroups::new();
    let mesh = cgroups.mesh("service", wiring, &[]);
    let node = &mesh.world.node;
    let _server = serve(&mesh.pod("server").netns, any(PORT));
    for to in targets(&mesh) {
        for (node_port, chosen) in [(NODE_PORT, None), (NODE_PORT + 1, Some(20_001))] {
            publish(&node.netns, node_port, to, chosen);
            node.netns
                .sysctl_set("net.netfilter.nf_conntrack_tcp_timeout_close", "1")
                .unwrap();
            let probe = probe_from(&node.netns, to, chosen);
            let outside = node.address_like(to.ip()).unwrap();
            let spec = ClientSpec::to(SocketAddr::new(outside, node_port));
            let spec = spec.deadline(Duration::from_millis(500));
            // Until connection tracking has forgotten the probe, it gives its port to nobody.
            let seen = eventually(PATIENCE, || {
                Client::exchange(&mesh.world.remote.netns, &spec).ok()
            })
            .unwrap();
            assert_eq!(
                seen.server.peer.ip(),
                probe.ip(),
                "the node has not taken the client's place"
            );
            let inbound = |record: &Record| {
                record.direction == Direction::Inbound
                    && record.peer.is_some_and(|peer| {
                        peer != seen.server.peer
                            && (peer == probe || chosen.is_none() && peer.ip() == probe.ip())
                    })
            };
            mesh.proxy.wait_for(PATIENCE, inbound).unwrap();
        }
    }
}

/// The source of a probe, whose port is free again.
fn probe_from(node: &Netns, to: SocketAddr, port: Option<u16>) -> SocketAddr {
    let mut spec = ClientSpec::to(to);
    if let Some(port) = port {
        let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
        spec = spec.from_port(SocketAddr::new(any.parse().unwrap(), port));
    }
    let probe = Client::prepare(node, &spec).unwrap();
    // By a reset.
    probe.socket().set_linger(Some(Duration::ZERO)).unwrap();
    let probe = probe.finish().unwrap();
    assert_direct(probe.report());
    probe.report().local
}

/// The end of a probe's socket gives its pass back; where that was missed, time does.
fn a_pass_that_was_never_given_back_ends(wiring: Wiring) {
    let mesh = mesh("stale-pass", wiring);
    let remote = &mesh.world.remote;
    let _server = serve(&mesh.pod("server").netns, any(PORT));
    let tally = Tally::of(&mesh, "server");
    for (to, port) in targets(&mesh).zip(43_000..) {
        let from = SocketAddr::new(remote.address_like(to.ip()).unwrap(), port);
        let mut spec = ClientSpec::to(to).from_port(from);
        spec.reuse_address = true;
        for (expiry, passes) in [(u64::MAX, true), (1, false)] {
            tally.let_pass((from, to), expiry);
            let client = Client::prepare(&remote.netns, &spec).unwrap();
            client.socket().set_linger(Some(Duration::ZERO)).unwrap();
            let client = client.finish().unwrap();
            assert_eq!(
                client.report().server.peer == from,
                passes,
                "{:?}",
                client.report()
            );
        }
    }
}

/// A destination and a source that are replaced.
fn publish(node: &Netns, port: u16, to: SocketAddr, source_port: Option<u16>) {
    let program = if to.is_ipv4() { "iptables" } else { "ip6tables" };
    let rules = [
        format!("-A PREROUTING -p tcp --dport {port} -j DNAT --to-destination {to}"),
        format!(
            "-A POSTROUTING -p tcp -d {} -m conntrack --ctstate DNAT --ctorigdstport {port} -j MASQUERADE{}",
            to.ip(),
            source_port.map_or_else(String::new, |port| format!(" --to-ports {port}")),
        ),
    ];
    for rule in rules {
        let mut command = Command::new(program);
        command.args(["-w", "-t", "nat"]).args(rule.split(' '));
        let output = node.run(|| command.output()).unwrap();
        assert!(output.status.success(), "{program} {rule}: {output:?}");
    }
}

fn a_probe_passes_beside_captured_traffic(wiring: Wiring) {
    let cgroups = Cgroups::new();
    let mesh = cgroups.mesh("both", wiring, &[]);
    let mut pod = Actor::start(&mesh.world.node.netns, Some(&cgroups.pod)).unwrap();
    let _server = serve(&mesh.pod("server").netns, any(PORT));
    for to in targets(&mesh) {
        let held = pod.open(&ClientSpec::to(to)).unwrap();
        assert_direct(&exchange(&mesh.world.node.netns, to));
        pod.echo(&held, "still there").unwrap();
        pod.close(&held).unwrap();
        assert_inbound(&mesh, &held.exchange);
    }
}
