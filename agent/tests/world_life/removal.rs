//! Connections that are open when a pod enters the mesh or leaves it.

use std::net::{IpAddr, Ipv4Addr, TcpStream};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_testbeds::mesh::{Mesh, PodLine};
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Connection, Server};
use weir_testbeds::world::{Family, Wiring};

use crate::support::{self, exchange, maps, open, rules_of_ours, serve, wait};

fn start(name: &str, client: bool, server: bool) -> Mesh {
    let add = |builder: weir_testbeds::mesh::Builder, pod, enrolled| match enrolled {
        true => builder.enrolled(pod),
        false => builder.outside(pod),
    };
    let builder = Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual);
    add(add(builder, "client", client), "server", server)
        .start()
        .unwrap()
}

fn addresses(mesh: &Mesh) -> Vec<IpAddr> {
    mesh.pod("server").addresses().iter().collect()
}

fn servers(mesh: &Mesh) -> Vec<Server> {
    addresses(mesh)
        .into_iter()
        .map(|to| serve(mesh, "server", to))
        .collect()
}

fn open_all(mesh: &Mesh) -> Vec<Connection> {
    let client = &mesh.pod("client").netns;
    addresses(mesh).into_iter().map(|to| open(client, to)).collect()
}

fn all_alive(connections: &mut [Connection]) {
    for connection in connections {
        connection.exchange(b"still here").unwrap();
        connection.bulk(1 << 20).unwrap();
    }
}

/// The flags of the kernel's entry for a pod, if it has one.
fn flags(mesh: &Mesh, netns: &Netns) -> Option<u32> {
    let pods = maps(mesh).pods().unwrap();
    pods.get(&support::cookie(netns), 0)
        .ok()
        .map(|known| known.entry.flags)
}

fn is_draining(mesh: &Mesh, netns: &Netns) -> bool {
    flags(mesh, netns).is_some_and(|flags| flags & PodEntry::DRAINING != 0)
}

/// Whether counts of the pod's connections are still there.
fn is_counted(mesh: &Mesh, netns: &Netns) -> bool {
    let (counters, netns) = (maps(mesh).counters().unwrap(), support::cookie(netns));
    counters.keys().flatten().any(|key| key.netns == netns)
}

fn nothing_is_left(mesh: &Mesh, netns: &Netns) -> bool {
    flags(mesh, netns).is_none()
        && !is_counted(mesh, netns)
        && rules_of_ours(netns) == 0
        && netns.sysctl_get("net.ipv4.tcp_fwmark_accept").unwrap() == "0"
}

#[test]
fn connections_open_at_enrolment_go_on_untouched() {
    for relabelled in [&["client"][..], &["server"], &["client", "server"]] {
        let mut mesh = start("open-at-enrolment", false, false);
        let servers = servers(&mesh);
        let mut held = open_all(&mesh);
        for pod in relabelled {
            mesh.relabel(pod, true).unwrap();
        }
        all_alive(&mut held);
        for (held, server) in held.iter().zip(&servers) {
            assert!(!held.report().was_captured());
            assert_eq!(server.connections().len(), 1);
        }
        for to in addresses(&mesh) {
            assert!(exchange(&mesh.pod("client").netns, to).was_captured());
        }
    }
}

#[test]
fn connections_open_at_removal_survive() {
    for relabelled in [&["client"][..], &["server"], &["client", "server"]] {
        let mut mesh = start("open-at-removal", true, true);
        let _servers = servers(&mesh);
        let mut held = open_all(&mesh);
        for pod in relabelled {
            mesh.relabel(pod, false).unwrap();
        }
        let left = mesh.pod(relabelled[0]).netns.clone();
        assert!(is_draining(&mesh, &left));
        all_alive(&mut held);
        if relabelled == ["server"] {
            // By the tunnel, of which ztunnel does not know yet that it leads nowhere any more.
            for to in addresses(&mesh) {
                assert!(exchange(&mesh.pod("client").netns, to).was_captured());
            }
        }
        for connection in held {
            connection.close().unwrap();
        }
        wait("rules and routes go with the last connection", || {
            nothing_is_left(&mesh, &left)
        });
    }
}

#[test]
fn draining_outlives_the_agent() {
    let mut mesh = start("drain-restart", true, true);
    let _servers = servers(&mesh);
    let client = mesh.pod("client").netns.clone();
    let mut held = open_all(&mesh);
    mesh.relabel("client", false).unwrap();
    mesh.agent.kill();
    mesh.agent.restart().unwrap();
    mesh.settled().unwrap();
    assert!(is_draining(&mesh, &client), "{}", mesh.agent.output());
    all_alive(&mut held);
    drop(held);
    wait("rules and routes go with the last connection", || {
        nothing_is_left(&mesh, &client)
    });
}

#[test]
fn a_pod_that_comes_back_while_it_drains_is_captured_again() {
    let mut mesh = start("drain-return", true, true);
    let _servers = servers(&mesh);
    let client = mesh.pod("client").netns.clone();
    let mut held = open_all(&mesh);
    mesh.relabel("client", false).unwrap();
    assert!(is_draining(&mesh, &client));
    mesh.relabel("client", true).unwrap();
    all_alive(&mut held);
    drop(held);
    for to in addresses(&mesh) {
        assert!(exchange(&client, to).was_captured());
    }
    assert_eq!(
        flags(&mesh, &client).map(|flags| flags & PodEntry::SERVED),
        Some(PodEntry::CAPTURING)
    );
    assert_eq!(rules_of_ours(&client), support::RULES);
}

/// What comes by a tunnel that is open needs that.
#[test]
fn a_pod_that_comes_back_while_it_drains_is_served_until_it_is_captured() {
    let mut mesh = start("drain-served", true, true);
    let _servers = servers(&mesh);
    let client = mesh.pod("client").netns.clone();
    let held = open_all(&mesh);
    mesh.relabel("client", false).unwrap();
    assert!(is_draining(&mesh, &client));
    let proxy = Pid::from_raw(mesh.proxy.id().unwrap().cast_signed());
    kill(proxy, Signal::SIGSTOP).unwrap();
    mesh.change("client", PodLine::enrol).unwrap();
    let is = |flag| flags(&mesh, &client).is_some_and(|flags| flags & flag != 0);
    wait("the pod is enrolled again", || !is(PodEntry::DRAINING));
    assert!(is(PodEntry::SERVED) && !is(PodEntry::CAPTURING));
    kill(proxy, Signal::SIGCONT).unwrap();
    wait("ztunnel takes over", || is(PodEntry::CAPTURING));
    assert!(!is(PodEntry::RETURNING));
    drop(held);
}

/// Asked over loopback; while the pod is captured that is refused, whoever listens.
fn ztunnel_listens(netns: &Netns) -> bool {
    netns.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, ports::OUTBOUND)).is_ok())
}

/// Until then what it has accepted goes on.
#[test]
fn ztunnel_closes_its_listeners_with_the_last_connection() {
    let mut mesh = start("drain-listens", true, true);
    let _servers = servers(&mesh);
    let client = mesh.pod("client").netns.clone();
    let held = open_all(&mesh);
    mesh.relabel("client", false).unwrap();
    assert!(is_draining(&mesh, &client) && ztunnel_listens(&client));
    drop(held);
    wait("ztunnel is told", || !ztunnel_listens(&client));
}

#[test]
fn removal_on_exit_leaves_nothing_although_connections_are_open() {
    let mut mesh = Mesh::builder("exit")
        .enrolled("client")
        .enrolled("server")
        .flag("--remove-on-exit")
        .start()
        .unwrap();
    let _servers = servers(&mesh);
    let _held = open_all(&mesh);
    mesh.relabel("client", false).unwrap();
    mesh.agent.terminate().unwrap();
    assert!(!mesh.agent.pin_root().exists());
    for pod in ["client", "server"] {
        let netns = &mesh.pod(pod).netns;
        assert_eq!(rules_of_ours(netns), 0);
        assert_eq!(netns.sysctl_get("net.ipv4.tcp_fwmark_accept").unwrap(), "0");
        wait("ztunnel is told", || !ztunnel_listens(netns));
    }
}
