//! Forgers, and those whose rules must be kept.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Command;
use std::time::Duration;

use weir_agent::datapath::sys::{self, AttachType, Insn, ProgramSpec, ProgramType, Register, Target};
use weir_testbeds::capture::Capture;
use weir_testbeds::mesh::{Mesh, ZTUNNEL};
use weir_testbeds::netlink::Netlink;
use weir_testbeds::proxy::Direction;
use weir_testbeds::traffic::{Client, ClientSpec};
use weir_testbeds::world::Wiring;

use crate::life::count;
use crate::scene::{
    HBONE, PORT, assert_captured, exchange, mesh, mesh_of_the_stand_in, of_pod, of_remote, run, serve,
};

on_every_wiring! {
    a_pod_that_forges_an_address_gets_nowhere,
    bulk_data_arrives_unaltered,
}

const QUICK: Duration = Duration::from_millis(500);

fn a_pod_that_forges_an_address_gets_nowhere(wiring: Wiring) {
    forge_an_address_and_get_nowhere(&mesh("node-spoof", wiring));
}

pub fn forge_an_address_and_get_nowhere(mesh: &Mesh) {
    let server = serve(&mesh.world.remote.netns);
    for to in of_remote(mesh) {
        let other = mesh.address("server", to.ip()).unwrap();
        let forged = ClientSpec::to(to).transparent().from(other).deadline(QUICK);
        assert!(Client::exchange(&mesh.pod("client").netns, &forged).is_err());
    }
    assert!(count(mesh, "client", "foreign_source") >= 2);
    assert!(mesh.proxy.connections().is_empty());
    assert!(server.connections().is_empty());
}

/// The Ethernet address of a pod on the bridge looks like a tag.
#[test]
fn a_frame_that_looks_redirected_does_not_reach_ztunnel() {
    let mesh = mesh("node-forged", Wiring::Bridge);
    let plain = &mesh.pod("plain").netns;
    let to = SocketAddr::new(mesh.pod(ZTUNNEL).address(), HBONE);
    Client::prepare(plain, &ClientSpec::to(to)).unwrap();
    let arriving = Capture::start(mesh.proxy_netns(), "eth0").unwrap();
    for mac in ["02:0a:01:00:00:01", "02:0a:02:00:00:01"] {
        run(plain, &format!("ip link set dev eth0 address {mac}"));
        run(plain, "ip neigh flush dev eth0");
        let spec = ClientSpec::to(to).deadline(QUICK);
        assert!(Client::connect(plain, &spec).is_err());
        assert!(arriving.tcp_syns().is_empty());
    }
}

/// A policy that the node's packet filter carries out, as CNIs do it.
#[test]
fn the_nodes_packet_filter_has_its_say_in_both_directions() {
    let mesh = mesh("node-policy", Wiring::PointToPoint);
    let server = serve(&mesh.world.remote.netns);
    let application = serve(&mesh.pod("server").netns);
    let interface = |pod: &str| mesh.pod(pod).primary.host_interface.clone().unwrap();
    let rules = format!(
        "table inet rules {{ chain pass {{ type filter hook forward priority 0; ct state invalid drop; \
         iifname {} tcp dport {PORT} ct state new drop; oifname {} tcp dport {PORT} ct state new drop; }}; }}",
        interface("client"),
        interface("server")
    );
    let mut nft = Command::new("nft");
    let done = mesh.world.node.netns.run(|| nft.arg(&rules).status()).unwrap();
    assert!(done.success());
    let quick = |to| ClientSpec::to(to).deadline(QUICK);
    for to in of_remote(&mesh) {
        assert!(Client::exchange(&mesh.pod("client").netns, &quick(to)).is_err());
    }
    for to in of_pod(&mesh, "server") {
        assert!(Client::exchange(&mesh.world.remote.netns, &quick(to)).is_err());
    }
    assert!(server.connections().is_empty());
    assert!(application.connections().is_empty());
    for to in of_remote(&mesh) {
        let seen = exchange(&mesh.pod("server").netns, to);
        assert_captured(&mesh, Direction::Outbound, &seen);
    }
}

#[test]
fn the_bridge_learns_each_pod_at_its_own_port() {
    let mesh = mesh("node-fdb", Wiring::Bridge);
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    for to in of_remote(&mesh).into_iter().chain(of_pod(&mesh, "server")) {
        exchange(&mesh.pod("client").netns, to);
    }
    let table = run(&mesh.world.node.netns, "bridge fdb show");
    for pod in ["client", "server", ZTUNNEL] {
        let primary = &mesh.pod(pod).primary;
        let mac = primary.mac.to_string();
        let port = primary.host_interface.clone().unwrap();
        let wrong = table
            .lines()
            .find(|line| line.starts_with(&mac) && !line.contains(&port));
        assert_eq!(wrong, None, "{pod} is not at {port}");
    }
    assert!(!table.contains("02:0a:0"), "a tag was learnt: {table}");
}

fn bulk_data_arrives_unaltered(wiring: Wiring) {
    let mesh = mesh_of_the_stand_in("node-bulk", wiring);
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    for to in of_remote(&mesh).into_iter().chain(of_pod(&mesh, "server")) {
        let mut connection = Client::connect(&mesh.pod("client").netns, &ClientSpec::to(to)).unwrap();
        connection.bulk(16 << 20).unwrap();
    }
}

/// What ztunnel says in a pod's name arrives at the pod's interface, where a CNI's own programs look at it.
#[test]
fn programs_of_the_cni_judge_what_ztunnel_says_in_a_pods_name() {
    let mesh = mesh("node-cni", Wiring::PointToPoint);
    let _server = serve(&mesh.world.remote.netns);
    let (client, node) = (mesh.pod("client"), &mesh.world.node.netns);
    let to = of_remote(&mesh)[0];
    let name = client.host_interface().unwrap();
    let interface = node
        .netlink(async |netlink| netlink.interface(name).await)
        .unwrap();
    exchange(&client.netns, to);
    let program = dropping("cali_policy");
    let target = Target::Interface(interface.index);
    let attached =
        node.run(|| sys::link_create(program.as_fd(), target, AttachType::TCX_INGRESS, 0).unwrap());
    let quickly = ClientSpec::to(to).deadline(Duration::from_millis(500));
    assert!(
        Client::exchange(&client.netns, &quickly).is_err(),
        "past the CNI's program"
    );
    drop(attached);
    exchange(&client.netns, to);
}

/// A program of this name that drops all packets.
fn dropping(name: &str) -> OwnedFd {
    const DROP: i32 = 2;
    sys::prog_load(&ProgramSpec {
        kind: ProgramType::SCHED_CLS,
        attach: None,
        insns: &[Insn::set(Register::R0, DROP), Insn::exit()],
        license: c"GPL",
        name,
    })
    .unwrap()
}

/// It has the address for its own, and answers for it on the bridge: what ztunnel says finds the pod all the same.
#[test]
fn a_pod_outside_the_mesh_that_takes_another_address_gets_nowhere() {
    let mesh = mesh("node-thief", Wiring::Bridge);
    let application = serve(&mesh.pod("server").netns);
    let thief = &mesh.pod("plain").netns;
    let stolen: Vec<_> = mesh.pod("client").addresses().iter().collect();
    for address in &stolen {
        let add = async |link: Netlink| link.add_address("eth0", (*address).into()).await;
        thief.netlink(add).unwrap();
    }
    for neighbour in [
        &mesh.pod("server").netns,
        mesh.proxy_netns(),
        &mesh.world.node.netns,
    ] {
        run(neighbour, "ip neigh flush all");
    }
    let ztunnel = mesh.pod(ZTUNNEL).addresses();
    for address in stolen {
        let own = ztunnel.like(address).unwrap();
        let ports = [15001, 15006, HBONE].map(|port| SocketAddr::new(own, port));
        let served = of_pod(&mesh, "server");
        for to in served.into_iter().chain(ports) {
            if to.is_ipv4() == address.is_ipv4() {
                let forged = ClientSpec::to(to).from(address).deadline(QUICK / 2);
                assert!(Client::exchange(thief, &forged).is_err(), "{to}");
            }
        }
    }
    assert!(application.connections().is_empty());
    assert!(
        mesh.proxy.connections().is_empty(),
        "{:?}",
        mesh.proxy.connections()
    );
}
