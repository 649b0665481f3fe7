//! Addresses that a pod gets and loses.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use tokio::time::timeout;
use weir_agent::enroll::requests::Requests;
use weir_agent::enroll::watch::NetnsWatch;
use weir_common::mark::TABLE;
use weir_testbeds::capture::{Capture, Segment};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::route::Route;
use weir_testbeds::traffic::Client;
use weir_testbeds::world::{Family, Wiring};

use crate::support::{self, PATIENCE, exchange, maps, serve, wait};

pub fn start(name: &str) -> Mesh {
    Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .start()
        .unwrap()
}

pub fn network(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

/// Routes an address to a pod by its own, from everywhere.
pub fn route_to(mesh: &Mesh, pod: &str, address: IpNetwork) {
    let via = mesh.pod(pod).address_like(address.ip()).unwrap();
    let node = &mesh.world.node.netns;
    node.netlink(async |netlink| netlink.add_route(&Route::to(address).via(via)).await)
        .unwrap();
    let gateway = mesh.world.node.address_like(address.ip()).unwrap();
    let remote = &mesh.world.remote.netns;
    remote
        .netlink(async |netlink| netlink.add_route(&Route::to(address).via(gateway)).await)
        .unwrap();
}

pub fn owns(mesh: &Mesh, pod: &str, address: IpAddr) -> bool {
    let netns = support::cookie(&mesh.pod(pod).netns);
    let own = maps(mesh).own_addresses().unwrap();
    own.keys()
        .flatten()
        .any(|key| key.netns == netns && IpAddr::from(key.address) == address)
}

#[test]
fn addresses_that_come_late_are_the_pods_and_those_that_go_are_not() {
    let mesh = start("addresses");
    let (server, client) = (&mesh.pod("server").netns, &mesh.pod("client").netns);
    let remote = &mesh.world.remote.netns;
    for address in [network("10.99.0.7/32"), network("fd00:99::7/128")] {
        let to = address.ip();
        route_to(&mesh, "server", address);
        server
            .netlink(async |netlink| netlink.add_address("lo", address).await)
            .unwrap();
        wait("the address is the pod's", || owns(&mesh, "server", to));
        let app = serve(&mesh, "server", to);
        for from in [client, remote] {
            let seen = exchange(from, to);
            assert!(seen.was_captured(), "{seen:?}");
            assert_eq!((seen.peer.ip(), seen.server.local.ip()), (to, to));
        }
        let itself = exchange(server, to);
        assert!(
            !itself.was_captured(),
            "the pod's own address is captured: {itself:?}"
        );
        drop(app);
        server
            .netlink(async |netlink| netlink.delete_address("lo", address).await)
            .unwrap();
        wait("the address is the pod's no more", || !owns(&mesh, "server", to));
    }
}

/// Each comes as soon as the pod's first address has been read, and is the last change of the pod's network.
#[test]
fn addresses_that_come_during_enrolment_are_the_pods() {
    let mut mesh = Mesh::builder("addresses-early")
        .enrolled("server")
        .flag("--verify-interval=1h")
        .start()
        .unwrap();
    for _ in 0..8 {
        let pod = Netns::new().unwrap();
        let first = network("10.77.0.1/32");
        pod.netlink(async |netlink| netlink.add_address("lo", first).await)
            .unwrap();
        // Started before, so that it only has to be told.
        let mut ip = Command::new("ip");
        ip.args(["-batch", "-"]).stdin(Stdio::piped());
        let mut ip = pod.run(|| ip.spawn()).unwrap();
        let (pods, netns) = (maps(&mesh).pods().unwrap(), support::cookie(&pod));
        mesh.list_bare(std::slice::from_ref(&pod)).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while pods.get(&netns, 0).is_err() {
            assert!(Instant::now() < deadline, "{}", mesh.agent.output());
        }
        let mut orders = ip.stdin.take().unwrap();
        orders.write_all(b"addr add 10.77.0.2/32 dev lo\n").unwrap();
        drop(orders);
        assert!(ip.wait().unwrap().success());
        let late = "10.77.0.2".parse::<IpAddr>().unwrap();
        wait("the late address is the pod's", || {
            let own = maps(&mesh).own_addresses().unwrap();
            let mut own = own.keys().flatten().filter(|own| own.netns == netns);
            own.any(|own| IpAddr::from(own.address) == late)
        });
        mesh.unlist_bare().unwrap();
    }
}

/// Orders of iproute2 in a pod's netns.
fn ip(pod: &Netns, orders: &[&str]) {
    for order in orders {
        let done = pod.run(|| Command::new("ip").args(order.split(' ')).status().unwrap());
        assert!(done.success(), "ip {order}");
    }
}

/// For a second at least after it came the kernel asks whether somebody else has it, and for good where somebody does.
#[test]
fn an_address_that_may_not_be_used_yet_keeps_no_pod_out() {
    let mut mesh = Mesh::builder("addresses-tentative")
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .outside("late")
        .start()
        .unwrap();
    for pod in ["client", "late"] {
        let netns = &mesh.pod(pod).netns;
        for (key, value) in [
            ("all.accept_dad", "1"),
            ("eth0.accept_dad", "1"),
            ("eth0.dad_transmits", "1000"),
        ] {
            netns.sysctl_set(&format!("net.ipv6.conf.{key}"), value).unwrap();
        }
        ip(netns, &["addr add fd00:98::7/128 dev eth0"]);
    }
    let tentative = "fd00:98::7".parse().unwrap();
    wait("the address is the pod's", || owns(&mesh, "client", tentative));
    mesh.relabel("late", true).unwrap();
    for to in mesh.pod("server").addresses().iter() {
        let _app = serve(&mesh, "server", to);
        let seen = exchange(&mesh.pod("client").netns, to);
        assert!(seen.was_captured(), "{seen:?}");
        assert_eq!(Some(seen.local.ip()), mesh.pod("client").address_like(to));
    }
}

/// What leaves the pod when something in it connects from one of its addresses, whether or not that is refused.
fn leaves_the_pod(pod: &Netns, from: IpAddr, to: IpAddr) -> Vec<Segment> {
    let on_wire = Capture::start(pod, "eth0").unwrap();
    // ztunnel's own connection comes from another port.
    let from = SocketAddr::new(from, 40_003);
    let soon = Duration::from_millis(500);
    Client::connect(pod, &support::spec(to).from_port(from).deadline(soon)).ok();
    let mut syns = on_wire.tcp_syns();
    syns.retain(|syn| syn.source == from);
    syns
}

/// The kernel takes the IPv6 routes over it away.
#[test]
fn a_pod_whose_loopback_was_down_while_no_agent_runs_says_nothing_in_clear() {
    let mut mesh = start("loopback-down");
    let client = mesh.pod("client").netns.clone();
    let server = mesh.pod("server").addresses();
    mesh.agent.kill();
    ip(&client, &["link set lo down", "link set lo up"]);
    for to in server.iter().chain(mesh.world.remote.addresses.iter()) {
        let from = mesh.pod("client").address_like(to).unwrap();
        let left = leaves_the_pod(&client, from, to);
        assert!(left.is_empty(), "left the pod in clear: {left:?}");
    }
    mesh.agent.restart().unwrap();
    for to in server.iter() {
        let route = format!("src {} ", mesh.pod("client").address_like(to).unwrap());
        wait("it is captured again", || {
            routes_of_ours(&client).contains(&route)
        });
        let _app = serve(&mesh, "server", to);
        let seen = exchange(&client, to);
        assert!(seen.was_captured(), "{seen:?}");
    }
}

/// Its connections are marked, whatever the family.
#[test]
fn a_pod_that_gets_its_first_ipv6_address_while_no_agent_runs_says_nothing_in_clear() {
    let mut mesh = Mesh::builder("addresses-v6")
        .wiring(Wiring::PointToPoint)
        .family(Family::V4)
        .enrolled("client")
        .start()
        .unwrap();
    let client = mesh.pod("client").netns.clone();
    mesh.agent.kill();
    let nobody = "fd00:99::1";
    ip(
        &client,
        &[
            "addr add fd00:99::7/64 dev eth0 nodad",
            &format!("neigh add {nobody} lladdr 02:00:00:00:00:99 dev eth0"),
            &format!("-6 route add default via {nobody} dev eth0"),
        ],
    );
    let [from, to] = ["fd00:99::7", "fd00:77::1"].map(|text| text.parse().unwrap());
    let left = leaves_the_pod(&client, from, to);
    assert!(left.is_empty(), "left the pod in clear: {left:?}");
    mesh.agent.restart().unwrap();
    wait("it is captured by IPv6 too", || {
        routes_of_ours(&client).contains("src fd00:99::7 ")
    });
}

/// As it is where a runtime switches IPv6 off, and somebody switches it on again for an interface only.
#[test]
fn a_pod_without_ipv6_on_loopback_is_captured_by_ipv4_and_says_nothing_in_clear() {
    let mut mesh = Mesh::builder("addresses-lo-v6")
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .outside("late")
        .start()
        .unwrap();
    let late = mesh.pod("late").netns.clone();
    late.sysctl_set("net.ipv6.conf.lo.disable_ipv6", "1").unwrap();
    mesh.relabel("late", true).unwrap();
    assert!(routes_of_ours(&late).contains("local default dev lo "));
    for to in mesh.world.remote.addresses.iter() {
        let from = mesh.pod("late").address_like(to).unwrap();
        let left = leaves_the_pod(&late, from, to);
        assert!(left.is_empty(), "left the pod in clear: {left:?}");
    }
    wait("status says what would help", || {
        let status = mesh.agent.run("status", &["late"]).unwrap();
        String::from_utf8_lossy(&status.stdout).contains("net.ipv6.conf.lo.disable_ipv6=0")
    });
}

fn routes_of_ours(pod: &Netns) -> String {
    let list = |family: &str| {
        let table = TABLE.to_string();
        let listed = pod.run(|| {
            let mut ip = Command::new("ip");
            ip.args([family, "route", "show", "table", &table])
                .output()
                .unwrap()
        });
        String::from_utf8(listed.stdout).unwrap()
    };
    list("-4") + &list("-6")
}

/// A pod's task does, when it is time for what nobody waits for.
#[tokio::test]
async fn a_change_is_told_to_who_gives_up_and_waits_again() {
    let pod = Netns::new().unwrap();
    let mut watch = NetnsWatch::start(pod.as_fd()).unwrap();
    let added = pod.run(|| {
        Command::new("ip")
            .args(["rule", "add", "pref", "99", "table", "99"])
            .status()
    });
    assert!(added.unwrap().success());
    // Others are still waited for then.
    let soon = Duration::from_millis(50);
    timeout(soon, watch.changed()).await.unwrap_err();
    timeout(PATIENCE, watch.changed()).await.unwrap();
}

#[tokio::test]
async fn what_comes_while_a_pod_is_enrolled_is_told_of_but_not_what_is_written_then() {
    const SOON: Duration = Duration::from_millis(50);
    let pod = Netns::new().unwrap();
    let ip = |words: &str| {
        let status = Command::new("ip").args(words.split(' ')).status().unwrap();
        assert!(status.success(), "{words}");
    };
    let look = |requests: &mut Requests| requests.addresses(|_| Some(()));
    let (_, mut watch) = NetnsWatch::start_by(pod.as_fd(), |requests| {
        ip("rule add pref 98 table 98");
        look(requests)
    })
    .unwrap();
    timeout(SOON, watch.changed()).await.unwrap_err();
    for (before, after) in [("add 10.9.9.1", None), ("add 10.9.9.2", Some("del 10.9.9.1"))] {
        let change = |what: &str| ip(&format!("addr {what}/32 dev lo"));
        let (found, mut watch) = NetnsWatch::start_by(pod.as_fd(), |requests| {
            change(before);
            let found = look(requests)?;
            after.into_iter().for_each(change);
            Ok(found.len())
        })
        .unwrap();
        assert!(found > 0, "answers are told from what else is heard");
        timeout(PATIENCE, watch.changed()).await.unwrap();
    }
}
