//! What tests about the lives of pods, proxies and agents share.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use weir_agent::datapath::sys::{link_info, obj_get};
use weir_agent::datapath::{Hook, Maps, Pins};
use weir_agent::inside;
use weir_common::event::CounterKey;
use weir_common::reason::Reason;
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Client, ClientSpec, Connection, Exchange, Load, Server, ServerSpec};

pub const PORT: u16 = 8080;
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a server that greets with its pod's name.
pub fn serve(mesh: &Mesh, pod: &str, address: IpAddr) -> Server {
    let spec = ServerSpec::new(pod, SocketAddr::new(address, PORT));
    Server::start(&mesh.pod(pod).netns, &spec).unwrap()
}

pub fn spec(to: IpAddr) -> ClientSpec {
    ClientSpec::to(SocketAddr::new(to, PORT)).deadline(PATIENCE)
}

pub fn open(netns: &Netns, to: IpAddr) -> Connection {
    Client::connect(netns, &spec(to)).unwrap()
}

pub fn exchange(netns: &Netns, to: IpAddr) -> Exchange {
    Client::exchange(netns, &spec(to)).unwrap()
}

/// Waits until the condition holds.
pub fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(PATIENCE, || condition().then_some(())).unwrap_or_else(|error| panic!("{what}: {error}"));
}

/// The netns cookie of a pod.
pub fn cookie(netns: &Netns) -> u64 {
    inside::cookie(netns.as_fd()).unwrap()
}

/// The agent's maps.
pub fn maps(mesh: &Mesh) -> Maps {
    Maps::adopt(&Pins::new(mesh.agent.pin_root()))
}

/// How often a reason was counted for a pod.
pub fn counted(mesh: &Mesh, netns: &Netns, reason: Reason) -> u64 {
    let key = CounterKey {
        netns: cookie(netns),
        reason: reason as u32,
        reserved: 0,
    };
    let counters = maps(mesh).counters().unwrap();
    counters
        .get(&key, 0)
        .map_or(0, |values| values.iter().copied().sum())
}

/// How many rules of ours an enrolled pod has of each family.
pub const RULES: usize = 2;

/// How many routing rules by mark a netns has.
pub fn rules_of_ours(netns: &Netns) -> usize {
    let listed = netns.run(|| Command::new("ip").args(["rule", "show"]).output().unwrap());
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter(|line| line.contains("fwmark"))
        .count()
}

/// Waits until so many interfaces are guarded, which is a moment after their pods have come; by filters nobody can tell.
pub fn wait_for_guards(mesh: &Mesh, interfaces: usize) {
    let is_guard = |link: &PathBuf| {
        let name = link.file_name().unwrap().to_string_lossy();
        name.starts_with("weir_guard")
    };
    if Hook::of_this_kernel() == Hook::Tcx {
        wait("the guards stand", || {
            links(mesh.agent.pin_root())
                .keys()
                .filter(|link| is_guard(link))
                .count()
                == interfaces
        });
    }
}

/// Every pinned link, with the kernel's numbers for it and for its program.
pub fn links(root: &Path) -> BTreeMap<PathBuf, (u32, u32)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name() != Some("maps".as_ref()) {
            found.extend(links(&path));
        } else if path.is_file() {
            let info = link_info(obj_get(&path).unwrap().as_fd()).unwrap();
            found.insert(path, (info.id, info.program_id));
        }
    }
    found
}

/// Clients that connect again and again; each is a netns and a destination.
pub fn load(clients: impl IntoIterator<Item = (Netns, IpAddr)>) -> Load {
    Load::start(clients.into_iter().map(|(netns, to)| (netns, spec(to))))
}

/// Waits until so many more of their exchanges are done.
pub fn go_on(load: &Load, more: u64) {
    load.go_on(more, PATIENCE).unwrap();
}
