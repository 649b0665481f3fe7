//! Agents of two layouts, one after the other: the same programs, pinned elsewhere, with maps of their own.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Command;

use weir_agent::datapath::sys::{MapSpec, MapType, map_create, obj_pin};
use weir_agent::datapath::{Maps, Pins};
use weir_common::names::{LAYOUT_VERSION, map};
use weir_testbeds::capture::Capture;
use weir_testbeds::mesh::{Mesh, PodLine};
use weir_testbeds::netns::Netns;
use weir_testbeds::process::Process;
use weir_testbeds::proxy::Dns;
use weir_testbeds::traffic::{Connection, Exchange, Failure};
use weir_testbeds::world::{Family, Wiring};

use crate::support::{
    RULES, cookie, exchange, go_on, links, load, open, rules_of_ours, serve, wait, wait_for_guards,
};

const HBONE: u16 = 15008;
const OLDER: u32 = LAYOUT_VERSION;
const NEWER: u32 = LAYOUT_VERSION + 1;
const ANSWER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 9, 9));
/// `a.test`, an A record wanted.
const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01";

fn mesh(name: &str, flags: &[&str]) -> Mesh {
    let builder = Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .outside("plain")
        .dns(Dns::Answers(vec![(None, ANSWER)]));
    let with_flags = flags.iter().fold(builder, |builder, flag| builder.flag(flag));
    with_flags.start().unwrap()
}

fn pins(mesh: &Mesh, layout: u32) -> Pins {
    Pins::of_layout(mesh.agent.pin_root(), layout)
}

/// Ends the agent and starts one of another layout.
fn change_layout(mesh: &mut Mesh, layout: u32) {
    mesh.agent.kill();
    mesh.agent.set_flag("--layout", &layout.to_string());
    mesh.agent.restart().unwrap();
}

fn is_taken_over(mesh: &Mesh, from: u32) -> bool {
    !pins(mesh, from).base().exists()
}

fn addresses(mesh: &Mesh) -> Vec<IpAddr> {
    mesh.pod("server").addresses().iter().collect()
}

fn all_captured(seen: &[Result<Exchange, Failure>]) {
    assert!(!seen.is_empty());
    for result in seen {
        let seen = result.as_ref().unwrap();
        assert_eq!(seen.server.server, "server");
        assert!(seen.was_captured(), "{seen:?}");
    }
}

fn nothing_left_in_clear(on_wire: &Capture) {
    assert!(!on_wire.segments().is_empty());
    for syn in on_wire.tcp_syns() {
        assert_eq!(syn.destination.port(), HBONE, "left the pod in clear: {syn:?}");
    }
}

fn all_alive(held: &mut [Connection]) {
    held.iter_mut()
        .for_each(|held| held.exchange(b"still here").unwrap());
}

/// The kernel's numbers of a layout's links, by what they are.
fn numbers(mesh: &Mesh, layout: u32) -> Vec<(PathBuf, u32)> {
    let base = pins(mesh, layout).base().to_owned();
    let found = links(&base);
    let number =
        |(path, (link, _)): (PathBuf, (u32, u32))| (path.strip_prefix(&base).unwrap().to_owned(), link);
    found.into_iter().map(number).collect()
}

/// A process is what leads to a namespace that has no name.
fn inhabit(netns: &Netns) -> Process {
    let mut idle = Command::new("sleep");
    idle.arg("60");
    netns.spawn(idle).unwrap()
}

/// A resolver's socket that keeps to one server.
fn resolver(netns: &Netns, server: SocketAddr) -> UdpSocket {
    netns.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
        socket.connect(server).unwrap();
        socket
    })
}

fn ask(socket: &UdpSocket, server: SocketAddr) {
    assert_eq!(socket.peer_addr().unwrap(), server);
    socket.send(QUERY).unwrap();
    let mut answer = [0; 512];
    let (_, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(from, server);
}

/// An upgrade, then a roll-back.
#[test]
fn an_agent_of_another_layout_takes_over_without_a_gap() {
    for flags in [
        &[][..],
        &["--guard=enforce"],
        &["--guard=enforce", "--interface-hook=clsact"],
    ] {
        let mut mesh = mesh("layouts", flags);
        let to = addresses(&mesh);
        let _servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
        let client = mesh.pod("client").netns.clone();
        let mut held: Vec<_> = to.iter().map(|to| open(&client, *to)).collect();
        let dns = SocketAddr::from(([192, 0, 2, 1], 53));
        let resolver = resolver(&client, dns);
        ask(&resolver, dns);
        let on_wire = Capture::start(&client, "eth0").unwrap();
        if flags.is_empty() {
            wait_for_guards(&mesh, 2);
        }
        let before = numbers(&mesh, OLDER);
        let load = load(to.iter().map(|to| (client.clone(), *to)));
        go_on(&load, 20);
        for (from, layout) in [(OLDER, NEWER), (NEWER, OLDER)] {
            change_layout(&mut mesh, layout);
            mesh.settled().unwrap();
            wait("the other layout is gone", || is_taken_over(&mesh, from));
            go_on(&load, 40);
            assert_eq!(before, numbers(&mesh, layout), "links lost their places");
            all_alive(&mut held);
            ask(&resolver, dns);
        }
        all_captured(&load.finish());
        nothing_left_in_clear(&on_wire);
        drop(held);
        mesh.relabel("client", false).unwrap();
        wait("what the first had switched is switched back", || {
            rules_of_ours(&client) == 0 && client.sysctl_get("net.ipv4.tcp_fwmark_accept").unwrap() == "0"
        });
    }
}

/// Where a pod is not found it stays captured by the layout that has it, beside those that have been taken over, and
/// beside new ones.
#[test]
fn pods_that_are_not_found_stay_in_the_hands_of_the_other_layout() {
    let mut mesh = mesh("layouts-half", &[]);
    let to = addresses(&mesh);
    let _servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
    let client = mesh.pod("client").netns.clone();
    let server = mesh.pod("server").netns.clone();
    let mut held: Vec<_> = to.iter().map(|to| open(&client, *to)).collect();
    let (from_client, from_server) = (
        Capture::start(&client, "eth0").unwrap(),
        Capture::start(&server, "eth0").unwrap(),
    );
    let load = load(to.iter().map(|to| (client.clone(), *to)));
    go_on(&load, 20);
    let mut path = String::new();
    mesh.change("server", |line| path = std::mem::take(&mut line.netns))
        .unwrap();
    change_layout(&mut mesh, NEWER);
    mesh.wait_state("client", "enrolled").unwrap();
    let pods = |layout| {
        let maps = Maps::adopt(&pins(&mesh, layout));
        let pods: Vec<u64> = maps.pods().unwrap().keys().flatten().collect();
        pods
    };
    assert_eq!(pods(NEWER), [cookie(&client)]);
    assert_eq!(pods(OLDER), [cookie(&server)]);
    let status = mesh.agent.run("status", &[]).unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        status.contains(&format!("layout {OLDER} still has 1 pod")),
        "{status}"
    );
    mesh.change("plain", PodLine::enrol).unwrap();
    mesh.wait_state("plain", "enrolled").unwrap();
    go_on(&load, 40);
    for to in &to {
        assert!(exchange(&mesh.pod("plain").netns, *to).was_captured());
    }
    // One that dies in between is followed by one that goes on.
    mesh.agent.kill();
    go_on(&load, 40);
    mesh.agent.restart().unwrap();
    mesh.change("server", |line| line.netns = path).unwrap();
    mesh.settled().unwrap();
    wait("the other layout is gone", || is_taken_over(&mesh, OLDER));
    go_on(&load, 40);
    all_captured(&load.finish());
    nothing_left_in_clear(&from_client);
    nothing_left_in_clear(&from_server);
    all_alive(&mut held);
}

#[test]
fn pods_that_left_or_went_meanwhile_are_let_go_from_the_other_layout() {
    let mut mesh = mesh("layouts-left", &[]);
    let to = addresses(&mesh);
    let _servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
    let client = mesh.pod("client").netns.clone();
    let server = mesh.pod("server").netns.clone();
    let mut held: Vec<_> = to.iter().map(|to| open(&client, *to)).collect();
    mesh.agent.kill();
    mesh.change("client", PodLine::leave).unwrap();
    change_layout(&mut mesh, NEWER);
    mesh.settled().unwrap();
    wait("the other layout is gone", || is_taken_over(&mesh, OLDER));
    all_alive(&mut held);
    assert_eq!(rules_of_ours(&client), RULES, "open connections need the rules");
    // One that was made since is none of those.
    let mut later = open(&client, to[0]);
    drop(held);
    let switched_back = |netns: &Netns| {
        rules_of_ours(netns) == 0 && netns.sysctl_get("net.ipv4.tcp_fwmark_accept").unwrap() == "0"
    };
    wait("rules go with the last connection", || switched_back(&client));
    later.exchange(b"still here").unwrap();
    let _inhabitant = inhabit(&server);
    mesh.agent.kill();
    mesh.unlist("server").unwrap();
    change_layout(&mut mesh, OLDER);
    wait("the pod that is gone is let go", || {
        is_taken_over(&mesh, NEWER) && switched_back(&server)
    });
}

#[test]
fn without_an_agent_another_layout_is_told_of_and_cleaned_up() {
    for is_as_ours in [true, false] {
        told_of_and_cleaned_up(is_as_ours);
    }
}

fn told_of_and_cleaned_up(is_as_ours: bool) {
    let mut mesh = mesh("layouts-alone", &[]);
    change_layout(&mut mesh, NEWER);
    mesh.settled().unwrap();
    wait("the other layout is gone", || is_taken_over(&mesh, OLDER));
    mesh.agent.kill();
    for command in ["status", "verify", "trace"] {
        let told = mesh.agent.run(command, &[]).unwrap();
        assert_eq!(told.status.code(), Some(3), "{told:?}");
        let stderr = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(
            stderr.contains(&format!("layout {NEWER} has 2 pods")),
            "{command}: {stderr}"
        );
    }
    if !is_as_ours {
        let map = map_create(&MapSpec {
            kind: MapType::HASH,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            name: map::FLOWS,
        });
        obj_pin(map.unwrap().as_fd(), &pins(&mesh, NEWER).map(map::FLOWS)).unwrap();
    }
    let _inhabitants = ["client", "server"].map(|pod| inhabit(&mesh.pod(pod).netns));
    let cleaned = mesh.agent.run("cleanup", &[]).unwrap();
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    assert!(!mesh.agent.pin_root().exists());
    for pod in ["client", "server"] {
        assert_eq!(rules_of_ours(&mesh.pod(pod).netns), 0);
        let sysctl = mesh.pod(pod).netns.sysctl_get("net.ipv4.tcp_fwmark_accept");
        assert_eq!(sysctl.unwrap(), "0");
    }
}
