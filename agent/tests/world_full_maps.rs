//! Maps that are too small: who has no room is told which flag makes more, and stays out of the mesh as a whole.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on says so by a panic; each uses its part of what tests share"
)]

#[path = "support/serve.rs"]
mod serve;
#[path = "support/tally.rs"]
mod tally;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::{Array, Map, MapData};
use ipnetwork::IpNetwork;
use serve::serve;
use tally::Tally;
use weir_agent::datapath::{Maps, Pins};
use weir_agent::enroll::{netlink, routing};
use weir_agent::inside;
use weir_common::address::Address;
use weir_common::claim::Claim;
use weir_common::given_ports;
use weir_common::listener::{ListenerKey, SLOTS};
use weir_common::names::map;
use weir_common::pod::Shown;
use weir_common::reason::Reason;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::link::Device;
use weir_testbeds::mesh::{Builder, Mesh, PodLine};
use weir_testbeds::netlink::Netlink;
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};

const PORT: u16 = 8080;

fn mesh(name: &str, flags: &[&str]) -> Builder {
    let builder = Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual);
    flags.iter().fold(builder, |builder, flag| builder.flag(flag))
}

/// The remote host asks a server in the pod.
fn ask(mesh: &Mesh, pod: &str) -> Exchange {
    let at = SocketAddr::new(mesh.pod(pod).address(), PORT);
    let _server = serve(&mesh.pod(pod).netns, &ServerSpec::new(pod, at));
    Client::exchange(&mesh.world.remote.netns, &ClientSpec::to(at)).unwrap()
}

/// The pod is told about with map and flag, nothing of it is left, and it works as a pod outside of the mesh.
fn assert_left_out(mesh: &Mesh, pod: &str, map: &str, flag: &str) {
    let told = |line: &str| {
        line.contains("not enrolled")
            && line.contains(&format!("default/{pod} "))
            && line.contains(map)
            && line.contains(flag)
    };
    eventually(PATIENCE, || mesh.agent.output().lines().any(told).then_some(()))
        .unwrap_or_else(|late| panic!("{late}: {}", mesh.agent.output()));
    let netns = &mesh.pod(pod).netns;
    let tally = Tally::of(mesh, pod);
    eventually(PATIENCE, || {
        (tally.entries().is_empty() && !has_rules(mesh, pod)).then_some(())
    })
    .unwrap_or_else(|late| panic!("{late}: {:?}", tally.entries()));
    assert_eq!(netns.sysctl_get("net.ipv4.tcp_fwmark_accept").unwrap(), "0");
    let seen = ask(mesh, pod);
    assert_eq!(seen.server.peer, seen.local, "half captured");
}

fn has_rules(mesh: &Mesh, pod: &str) -> bool {
    netlink::ask(mesh.pod(pod).netns.as_fd(), routing::is_complete).unwrap()
}

#[test]
fn more_pods_than_there_is_room_for() {
    let mut mesh = mesh("full-pods", &["--max-pods", "1", "--max-addresses-per-pod", "16"])
        .enrolled("first")
        .outside("second")
        .start()
        .unwrap();
    mesh.change("second", PodLine::enrol).unwrap();
    assert_left_out(&mesh, "second", "weir_pods", "--max-pods");
    let seen = ask(&mesh, "first");
    assert_ne!(
        seen.server.peer.port(),
        seen.local.port(),
        "the first is as it was"
    );
    // Room is made: the second comes in by itself.
    mesh.change("first", PodLine::leave).unwrap();
    let tally = Tally::of(&mesh, "second");
    eventually(PATIENCE * 2, || tally.is_captured().then_some(())).unwrap();
}

#[test]
fn more_addresses_than_there_is_room_for() {
    let mut mesh = mesh("full-own", &["--max-pods", "1", "--max-addresses-per-pod", "1"])
        .outside("pod")
        .start()
        .unwrap();
    mesh.change("pod", PodLine::enrol).unwrap();
    assert_left_out(&mesh, "pod", "weir_own", "--max-addresses-per-pod");
}

/// As long as the one that has gone counts as the pod's, what the pod says to it goes uncaptured.
#[test]
fn an_address_that_goes_makes_room_for_another() {
    let mesh = mesh(
        "full-exchange",
        &["--max-pods", "1", "--max-addresses-per-pod", "8"],
    )
    .family(Family::V4)
    .enrolled("pod")
    .start()
    .unwrap();
    let netns = mesh.pod("pod").netns.clone();
    let [gone, come]: [IpNetwork; 2] =
        ["198.51.100.7/32", "198.51.100.8/32"].map(|text| text.parse().unwrap());
    let tally = Tally::of(&mesh, "pod");
    let is_own = |address: &IpNetwork| tally.entries().contains(&format!("own {}", address.ip()));
    netns
        .netlink(async |netlink| netlink.add_address("eth0", gone).await)
        .unwrap();
    eventually(PATIENCE, || is_own(&gone).then_some(())).unwrap();
    let maps = Maps::adopt(&Pins::new(mesh.agent.pin_root()));
    let mut full = (0..).map(|number| maps.set_own_address(1, Address::from_v4(number)));
    assert!(full.any(|filled| filled.is_err()));
    netns
        .netlink(async |netlink| netlink.add_address("eth0", come).await)
        .unwrap();
    mesh.wait_state("pod", "failed").unwrap();
    let shown = maps
        .pod(inside::cookie(netns.as_fd()).unwrap())
        .unwrap()
        .unwrap()
        .shown;
    assert_eq!(shown, Shown::default(), "what is shown is not what there is");
    netns
        .netlink(async |netlink| netlink.delete_address("eth0", gone).await)
        .unwrap();
    eventually(PATIENCE, || (is_own(&come) && !is_own(&gone)).then_some(()))
        .unwrap_or_else(|late| panic!("{late}: {}", mesh.agent.output()));
}

#[test]
fn more_rules_than_there_is_room_for() {
    let cases = [
        (
            "traffic.sidecar.istio.io/excludeInboundPorts",
            "81,82",
            "weir_port_rules",
        ),
        (
            "traffic.sidecar.istio.io/excludeOutboundIPRanges",
            "192.0.2.0/24,203.0.113.0/24",
            "weir_ranges",
        ),
    ];
    for (key, value, map) in cases {
        let mut mesh = mesh("full-rules", &["--max-rules", "1"])
            .outside("pod")
            .annotate("pod", key, value)
            .start()
            .unwrap();
        mesh.change("pod", PodLine::enrol).unwrap();
        assert_left_out(&mesh, "pod", map, "--max-rules");
    }
}

#[test]
fn more_virtual_interfaces_than_there_is_room_for() {
    let builder = mesh(
        "full-virtual",
        &["--max-pods", "1", "--max-addresses-per-pod", "16"],
    )
    .outside("pod")
    .annotate("pod", "istio.io/reroute-virtual-interfaces", "tap0,tap1");
    let world = builder.world().unwrap();
    for name in ["tap0", "tap1"] {
        let add = async |netlink: Netlink| netlink.add_bridge(&Device::named(name)).await;
        world.pod("pod").netns.netlink(add).unwrap();
    }
    let mut mesh = builder.start_in(world).unwrap();
    mesh.change("pod", PodLine::enrol).unwrap();
    assert_left_out(&mesh, "pod", "weir_virtual_if", "--max-pods");
}

/// Whoever has put others' listeners into the map: without a place for ztunnel's nothing is captured, nor let through.
#[test]
fn more_listeners_than_there_is_room_for() {
    let mut mesh = mesh(
        "full-listeners",
        &["--max-pods", "1", "--max-addresses-per-pod", "16"],
    )
    .outside("pod")
    .start()
    .unwrap();
    let maps = Maps::adopt(&Pins::new(mesh.agent.pin_root()));
    let netns = mesh.pod("pod").netns.clone();
    let foreign: Vec<_> = (0..2 * SLOTS)
        .map(|_| netns.run(|| TcpListener::bind("127.0.0.1:0")).unwrap())
        .collect();
    let mut listeners = maps.listeners().unwrap();
    for (number, listener) in (0..).zip(&foreign) {
        let key = ListenerKey {
            netns: 1,
            port: number,
            slot: 0,
        };
        listeners.insert(key, listener.as_raw_fd(), 0).unwrap();
    }
    mesh.change("pod", PodLine::enrol).unwrap();
    let tally = Tally::of(&mesh, "pod");
    tally.wait(Reason::ListenersFull, 2);
    mesh.wait_state("pod", "failed").unwrap();
    let status = mesh.agent.run("status", &["pod"]).unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(
        status.contains("weir_listeners") && status.contains("--max-pods"),
        "{status}"
    );
    drop(foreign);
    mesh.wait_state("pod", "enrolled").unwrap();
    assert_ne!(
        ask(&mesh, "pod").server.peer.port(),
        ask(&mesh, "pod").local.port()
    );
}

/// These maps make room by themselves: the oldest entries go, and connections that are open do not need theirs.
#[test]
fn probes_and_connections_go_on_that_there_is_no_room_for() {
    let mesh = mesh("full-flows", &["--max-probes", "1", "--max-connections", "1"])
        .enrolled("pod")
        .start()
        .unwrap();
    let tally = Tally::of(&mesh, "pod");
    for at in mesh
        .pod("pod")
        .addresses()
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
    {
        let _server = Server::start(&mesh.pod("pod").netns, &ServerSpec::new("pod", at)).unwrap();
        let mut open = Vec::new();
        for _ in 0..20 {
            let probe = Client::connect(&mesh.world.node.netns, &ClientSpec::to(at)).unwrap();
            assert_eq!(
                probe.report().server.peer,
                probe.report().local,
                "the probe was captured"
            );
            let guest = Client::connect(&mesh.world.remote.netns, &ClientSpec::to(at)).unwrap();
            assert_ne!(guest.report().server.peer.port(), guest.report().local.port());
            open.extend([probe, guest]);
        }
        for connection in open {
            connection.converse().unwrap();
        }
    }
    assert!(tally.count(Reason::Probe) >= 40, "they were no probes");
}

/// Every seat is taken: the kernel chooses the port of ztunnel's connection to the application, and that is told.
#[test]
fn a_connection_is_made_for_which_no_port_is_free() {
    let mesh = mesh("full-claims", &[]).enrolled("pod").start().unwrap();
    let pin = Pins::new(mesh.agent.pin_root()).map(map::CLAIMS);
    let mut claims: Array<_, Claim> = Map::Array(MapData::from_pin(pin).unwrap()).try_into().unwrap();
    let taken = Claim { users: 1, given: 0 };
    for seat in 0..claims.len() {
        claims.set(seat, taken, 0).unwrap();
    }
    let tally = Tally::of(&mesh, "pod");
    let before = tally.count(Reason::PortUnclaimed);
    let asked = ask(&mesh, "pod");
    assert_ne!(asked.server.peer.port(), asked.local.port());
    assert!(!given_ports::contain(asked.server.peer.port()));
    assert_eq!(tally.count(Reason::PortUnclaimed), before + 1);
}
