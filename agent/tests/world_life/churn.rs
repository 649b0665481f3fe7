//! Many pods come and go.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use ipnetwork::IpNetwork;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weir_agent::datapath::Pins;
use weir_common::event::CounterKey;
use weir_common::pod::PodEntry;
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::{Mesh, PodLine};
use weir_testbeds::netns::Netns;
use weir_testbeds::world::{Family, Wiring};

use crate::support::{PATIENCE, exchange, maps, open, serve, wait};

const PODS: usize = 500;
const ROUNDS: usize = 3;
/// Resident memory of the agent per pod. It is about a third of this; a buffer per pod would be more.
const KIB_PER_POD: u64 = 72;
/// Programs and maps in stock: two descriptors for each of two kinds, at most eight times.
const STOCK: usize = 32;

/// A pod that is nothing but a namespace with an address.
fn bare_pod(number: usize) -> Netns {
    let netns = Netns::new().unwrap();
    let address: IpNetwork = format!("10.{}.{}.1/32", 100 + number / 250, number % 250)
        .parse()
        .unwrap();
    netns
        .netlink(async |netlink| netlink.add_address("lo", address).await)
        .unwrap();
    netns
}

fn enrolled(mesh: &Mesh) -> usize {
    maps(mesh).pods().unwrap().keys().flatten().count()
}

/// Those of pods that have gone are kept in one place.
fn of_pods(counters: impl Iterator<Item = CounterKey>) -> impl Iterator<Item = CounterKey> {
    counters.filter(|counter| counter.netns != 0)
}

/// How many entries each map has, but for those that outlive pods on purpose.
fn entries(mesh: &Mesh) -> BTreeMap<&'static str, usize> {
    let maps = maps(mesh);
    [
        ("pods", maps.pods().unwrap().keys().count()),
        ("own", maps.own_addresses().unwrap().keys().count()),
        ("by address", maps.pods_by_address().unwrap().keys().count()),
        ("newest", maps.newest().unwrap().keys().count()),
        ("listeners", maps.listeners().unwrap().keys().count()),
        ("ports", maps.port_rules().unwrap().keys().count()),
        ("ranges", maps.range_rules().unwrap().keys().count()),
        (
            "counters",
            of_pods(maps.counters().unwrap().keys().flatten()).count(),
        ),
    ]
    .into()
}

/// Programs and maps that a process has open, which it may keep in stock, and what else it has.
fn open_files(process: u32) -> (usize, usize) {
    let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    // A file may be closed while it is looked at.
    let targets = files.flatten().flat_map(|file| fs::read_link(file.path()));
    let (kept, others): (Vec<_>, Vec<_>) = targets.partition(|target| {
        let target = target.to_string_lossy();
        target.contains("bpf-prog") || target.contains("bpf-map")
    });
    (kept.len(), others.len())
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[test]
fn pods_that_come_and_go_leave_nothing() {
    // The pod that stays is not verified meanwhile, which would be counted.
    let mut mesh = Mesh::builder("churn")
        .enrolled("stays")
        .flag("--verify-interval=1h")
        .start()
        .unwrap();
    let before = entries(&mesh);
    let resident_before = resident_kib(mesh.agent.id().unwrap());
    let (kept_before, open_before) = open_files(mesh.agent.id().unwrap());
    let mut resident = Vec::new();
    for _ in 0..ROUNDS {
        let pods: Vec<Netns> = (0..PODS).map(bare_pod).collect();
        let start = Instant::now();
        mesh.list_bare(&pods).unwrap();
        wait("all pods are enrolled", || enrolled(&mesh) == PODS + 1);
        let came = start.elapsed();
        let grown = resident_kib(mesh.agent.id().unwrap()).saturating_sub(resident_before);
        println!("{} KiB a pod", grown / PODS as u64);
        assert!(grown < KIB_PER_POD * PODS as u64, "{PODS} pods take {grown} KiB");
        mesh.unlist_bare().unwrap();
        wait("all pods are gone", || enrolled(&mesh) == 1);
        println!(
            "{PODS} pods came in {came:?} and were gone after {:?}",
            start.elapsed()
        );
        eventually(PATIENCE, || (entries(&mesh) == before).then_some(()))
            .unwrap_or_else(|late| panic!("{late}: {:?} in the maps, not {before:?}", entries(&mesh)));
        let links = fs::read_dir(Pins::new(mesh.agent.pin_root()).pods()).unwrap();
        assert_eq!(links.count(), 1);
        wait("the agent has closed what it opened", || {
            let (kept, open) = open_files(mesh.agent.id().unwrap());
            open <= open_before && kept <= kept_before + STOCK
        });
        resident.push(resident_kib(mesh.agent.id().unwrap()));
    }
    println!("resident: {resident:?} KiB");
    assert!(
        resident[ROUNDS - 1] * 5 <= resident[0] * 6,
        "the agent grows: {resident:?} KiB"
    );
}

/// An agent that is told to end leaves its pods as they are, however busy the machine is.
#[test]
fn an_agent_that_ends_lets_no_pod_go() {
    let mut mesh = Mesh::builder("ending").enrolled("stays").start().unwrap();
    let pods: Vec<Netns> = (0..PODS).map(bare_pod).collect();
    mesh.list_bare(&pods).unwrap();
    wait("all pods are enrolled", || enrolled(&mesh) == PODS + 1);
    mesh.agent.terminate().unwrap();
    assert_eq!(enrolled(&mesh), PODS + 1);
    let all = maps(&mesh).pods().unwrap();
    let let_go = all
        .iter()
        .flatten()
        .filter(|(_, pod)| pod.entry.has(PodEntry::DRAINING));
    assert_eq!(let_go.count(), 0, "{}", mesh.agent.output());
}

#[test]
fn a_pod_that_is_deleted_with_connections_open_is_forgotten() {
    let mut mesh = Mesh::builder("deleted")
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .enrolled("stays")
        .start()
        .unwrap();
    let to: Vec<_> = mesh.pod("server").addresses().iter().collect();
    let servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
    let held: Vec<_> = to.iter().map(|to| open(&mesh.pod("client").netns, *to)).collect();
    mesh.world.remove_pod("server").unwrap();
    drop(servers);
    mesh.unlist("server").unwrap();
    wait("the pod is gone", || enrolled(&mesh) == 2);
    mesh.world.remove_pod("client").unwrap();
    mesh.unlist("client").unwrap();
    drop(held);
    wait("the other is gone too", || enrolled(&mesh) == 1);
    let links = fs::read_dir(Pins::new(mesh.agent.pin_root()).pods()).unwrap();
    assert_eq!(links.count(), 1);
}

/// Nothing is mended that is not asked for.
fn never_verified(name: &str) -> Mesh {
    Mesh::builder(name)
        .enrolled("client")
        .enrolled("server")
        .flag("--verify-interval=1h")
        .start()
        .unwrap()
}

fn assert_in_mesh(mesh: &Mesh, client: &str) {
    let to = mesh.pod("server").address();
    let _server = serve(mesh, "server", to);
    assert!(exchange(&mesh.pod(client).netns, to).was_captured());
    // Its first task may have been told of as enrolled while it ended. What is pending is not looked at.
    let verified = eventually(PATIENCE, || {
        let verified = mesh.agent.run("verify", &[client]).unwrap();
        let pending = String::from_utf8_lossy(&verified.stdout).contains("pending");
        (!pending).then_some(verified)
    });
    let verified = verified.unwrap();
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}

/// A list may lack a pod for a moment, and ztunnel may be slow to let go of it.
#[test]
fn a_pod_that_comes_again_before_ztunnel_has_let_go_of_it() {
    let mut mesh = never_verified("relisted");
    let proxy = Pid::from_raw(mesh.proxy.id().unwrap().cast_signed());
    kill(proxy, Signal::SIGSTOP).unwrap();
    mesh.unlist("client").unwrap();
    wait("the pod is gone", || enrolled(&mesh) == 1);
    mesh.list("client").unwrap();
    wait("the pod is there again", || enrolled(&mesh) == 2);
    kill(proxy, Signal::SIGCONT).unwrap();
    mesh.settled().unwrap();
    assert_in_mesh(&mesh, "client");
    assert_eq!(mesh.agent.state_of("client").as_deref(), Some("enrolled"));
}

/// The same while its first task still waits for ztunnel to serve it.
#[test]
fn a_pod_that_comes_again_before_it_was_served() {
    let mut mesh = never_verified("relisted-early");
    mesh.unlist("client").unwrap();
    wait("the pod is gone", || mesh.agent.state_of("client").is_none());
    let proxy = Pid::from_raw(mesh.proxy.id().unwrap().cast_signed());
    kill(proxy, Signal::SIGSTOP).unwrap();
    mesh.list("client").unwrap();
    wait("the pod is there", || enrolled(&mesh) == 2);
    let other = Netns::new().unwrap();
    for seen in ["gone", "back"] {
        match seen {
            "gone" => mesh.unlist("client").unwrap(),
            _ => mesh.list("client").unwrap(),
        }
        // Who comes by the same list shows that it has been read.
        mesh.add([PodLine::in_netns(seen, seen, &other)]).unwrap();
        mesh.wait_state(seen, "left").unwrap();
    }
    kill(proxy, Signal::SIGCONT).unwrap();
    wait("the pod is enrolled", || {
        mesh.agent.state_of("client").as_deref() == Some("enrolled") && enrolled(&mesh) == 2
    });
    assert_in_mesh(&mesh, "client");
    let told = mesh.agent.run("status", &["client"]).unwrap();
    assert_eq!(told.status.code(), Some(0), "{told:?}");
}
