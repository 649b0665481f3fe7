//! A path whose narrowest link is neither end's: the router before it tells of its MTU by ICMP, to the pod's address.

use std::net::{IpAddr, SocketAddr};

use weir_testbeds::link::Device;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netlink::Netlink;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::Direction;
use weir_testbeds::route::Route;
use weir_testbeds::traffic::{Client, ClientSpec};
use weir_testbeds::world::{Host, Wiring};

use crate::scene::{PORT, assert_captured, mesh_of_the_stand_in, serve};

on_every_wiring! {
    bulk_data_gets_through_a_narrow_path,
    bulk_data_gets_through_a_narrow_uplink,
}
on_wiring!(macvlan, MacvlanBridge, bulk_data_gets_through_a_narrow_path);

const NARROW: u32 = 1300;
pub const WIDE: u32 = 1500;
const BEYOND: [&str; 2] = ["172.30.2.0/24", "fd30:2::/64"];
/// The hop's addresses on both links, and the host's beyond it.
const REMOTE: [&str; 2] = ["172.30.1.1", "fd30:1::1"];
const HOP: [&str; 2] = ["172.30.1.2", "fd30:1::2"];
const HOP_BEYOND: [&str; 2] = ["172.30.2.1", "fd30:2::1"];
pub const FAR: [&str; 2] = ["172.30.2.2", "fd30:2::2"];

/// A router, and a host beyond it. Without whoever holds them they are gone.
pub struct Beyond {
    _hop: Netns,
    pub far: Netns,
}

/// They are beyond `remote`, to which a link of this MTU leads; the last link is as wide as most.
pub fn beyond(remote: &Host, mtu: u32) -> Beyond {
    let (hop, far) = (Netns::new().unwrap(), Netns::new().unwrap());
    for sysctl in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
        hop.sysctl_set(sysctl, "1").unwrap();
    }
    join(&remote.netns, &hop, mtu);
    join(&hop, &far, WIDE);
    address(&remote.netns, "out", REMOTE);
    address(&hop, "in", HOP);
    address(&hop, "out", HOP_BEYOND);
    address(&far, "in", FAR);
    route(&remote.netns, BEYOND, HOP);
    default(&hop, REMOTE);
    default(&far, HOP_BEYOND);
    Beyond { _hop: hop, far }
}

fn join(near: &Netns, other: &Netns, mtu: u32) {
    let [this, that] = ["out", "in"].map(|name| Device::named(name).mtu(mtu));
    near.netlink(async |link| link.add_veth(&this, &that, other).await)
        .unwrap();
    other.netlink(async |link| link.up("in").await).unwrap();
    near.netlink(async |link| link.running("out").await).unwrap();
}

fn address(netns: &Netns, interface: &str, addresses: [&str; 2]) {
    let add = async |link: Netlink| {
        for (address, length) in addresses.iter().zip([24, 64]) {
            let address = format!("{address}/{length}").parse().unwrap();
            link.add_address(interface, address).await?;
        }
        link.link_local(interface).await.map(drop)
    };
    netns.netlink(add).unwrap();
}

fn route(netns: &Netns, to: [&str; 2], via: [&str; 2]) {
    for (to, via) in to.into_iter().zip(via) {
        let to: ipnetwork::IpNetwork = to.parse().unwrap();
        let route = Route::to(to).via(via.parse().unwrap());
        netns.netlink(async |link| link.add_route(&route).await).unwrap();
    }
}

fn default(netns: &Netns, via: [&str; 2]) {
    for via in via.map(|via| via.parse::<IpAddr>().unwrap()) {
        let route = Route::default_via(via);
        netns.netlink(async |link| link.add_route(&route).await).unwrap();
    }
}

fn bulk_data_gets_through_a_narrow_path(wiring: Wiring) {
    let mesh = mesh_of_the_stand_in("node-narrow", wiring);
    let beyond = beyond(&mesh.world.remote, NARROW);
    assert_bulk_data_gets_through(&mesh, &beyond.far, wiring);
}

/// Here it is the node that tells of it, and its answers pass the pod's interface like any other.
fn bulk_data_gets_through_a_narrow_uplink(wiring: Wiring) {
    let mesh = mesh_of_the_stand_in("node-uplink", wiring);
    let beyond = beyond(&mesh.world.remote, WIDE);
    for host in [&mesh.world.node, &mesh.world.remote] {
        let narrow = async |link: Netlink| link.set_mtu(&host.interface, NARROW).await;
        host.netns.netlink(narrow).unwrap();
    }
    assert_bulk_data_gets_through(&mesh, &beyond.far, wiring);
}

fn assert_bulk_data_gets_through(mesh: &Mesh, far: &Netns, wiring: Wiring) {
    let _server = serve(far);
    let _application = serve(&mesh.pod("server").netns);
    let client = &mesh.pod("client").netns;
    for to in FAR.map(|address| SocketAddr::new(address.parse().unwrap(), PORT)) {
        let mut connection = Client::connect(client, &ClientSpec::to(to)).unwrap();
        if wiring != Wiring::MacvlanBridge {
            assert_captured(mesh, Direction::Outbound, connection.report());
        }
        connection.bulk(4 << 20).unwrap();
        let inward = SocketAddr::new(mesh.address("server", to.ip()).unwrap(), PORT);
        let mut connection = Client::connect(far, &ClientSpec::to(inward)).unwrap();
        assert_captured(mesh, Direction::Inbound, connection.report());
        connection.bulk(4 << 20).unwrap();
    }
}
