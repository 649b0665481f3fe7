//! Rules, tables, local routes, on-link gateways and permanent neighbours do what `ip` would make of them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnetwork::IpNetwork;
use weir_testbeds::capture::Capture;
use weir_testbeds::link::Device;
use weir_testbeds::mac::Mac;
use weir_testbeds::netns::Netns;
use weir_testbeds::route::Route;
use weir_testbeds::rule::Rule;
use weir_testbeds::traffic::{Cause, Client, ClientSpec, Server, ServerSpec};
use weir_testbeds::world::{Family, World};

const TABLE: u32 = 5000;
const MARK: u32 = 0x222;

#[test]
fn a_marked_connection_is_delivered_by_the_table_of_its_rule() {
    let netns = Netns::new().unwrap();
    for foreign in ["198.51.100.1", "2001:db8::1"] {
        let foreign: IpAddr = foreign.parse().unwrap();
        let rule = if foreign.is_ipv4() {
            Rule::v4(100, TABLE)
        } else {
            Rule::v6(100, TABLE)
        };
        netns
            .netlink(async |netlink| {
                netlink
                    .add_route(&Route::local_everything(foreign).table(TABLE))
                    .await?;
                netlink.add_rule(&rule.mark(MARK, 0xfff)).await
            })
            .unwrap();
        let spec = ServerSpec {
            transparent: true,
            ..ServerSpec::new("proxy", SocketAddr::new(foreign, 15001))
        };
        let proxy = Server::start(&netns, &spec).unwrap();

        let unmarked = Client::exchange(&netns, &ClientSpec::to(proxy.address())).unwrap_err();
        assert_eq!(unmarked.cause, Cause::Unreachable);
        netns.sysctl_set("net.ipv4.tcp_fwmark_accept", "1").unwrap();
        let source = if foreign.is_ipv4() { "127.0.0.1" } else { "::1" };
        let spec = ClientSpec::to(proxy.address())
            .mark(MARK)
            .from(source.parse().unwrap());
        assert_eq!(
            Client::exchange(&netns, &spec).unwrap().server.local,
            proxy.address()
        );
    }
}

#[test]
fn a_permanent_neighbour_is_believed_without_asking() {
    let world = World::builder("neighbour")
        .family(Family::Dual)
        .pods(["client"])
        .build()
        .unwrap();
    let client = world.pod("client");
    let nobody = Mac([0x02, 0, 0, 0, 0, 0x77]);
    for mut absent in client.addresses().iter() {
        absent = match absent {
            IpAddr::V4(v4) => IpAddr::from(std::net::Ipv4Addr::from_bits(v4.to_bits() + 100)),
            IpAddr::V6(v6) => IpAddr::from(std::net::Ipv6Addr::from_bits(v6.to_bits() + 100)),
        };
        let add = client
            .netns
            .netlink(async |netlink| netlink.add_neighbour("eth0", absent, nobody).await);
        add.unwrap();
        let capture = Capture::start(&client.netns, "eth0").unwrap();
        let spec = ClientSpec::to(SocketAddr::new(absent, 80)).deadline(Duration::from_millis(50));
        assert_eq!(
            Client::exchange(&client.netns, &spec).unwrap_err().cause,
            Cause::TimedOut
        );
        let frames = capture.frames();
        let syn = frames.iter().find(|frame| frame.tcp.is_some()).unwrap();
        assert_eq!(syn.destination, Some(nobody));
    }
}

#[test]
fn a_preferred_source_and_an_on_link_gateway_are_used() {
    let world = World::builder("source").pods(["client"]).build().unwrap();
    let client = world.pod("client");
    let to: IpAddr = "203.0.113.1".parse().unwrap();
    let (extra, gateway): (IpNetwork, IpAddr) =
        ("10.244.0.200/32".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let route = Route::to(to).via(gateway).dev("eth0").onlink().source(extra.ip());
    let capture = Capture::start(&client.netns, "eth0").unwrap();
    client
        .netns
        .netlink(async |netlink| {
            netlink.add_address("eth0", extra).await?;
            netlink
                .add_neighbour("eth0", gateway, Mac([2, 0, 0, 0, 0, 1]))
                .await?;
            netlink.add_route(&route).await
        })
        .unwrap();
    let spec = ClientSpec::to(SocketAddr::new(to, 80)).deadline(Duration::from_millis(50));
    Client::exchange(&client.netns, &spec).unwrap_err();
    assert_eq!(capture.tcp_syns()[0].source.ip(), extra.ip());
}

#[test]
fn an_address_can_be_taken_away_again() {
    let netns = Netns::new().unwrap();
    for (address, removed) in [
        ("10.9.9.9/24", Cause::AddressNotAvailable),
        ("fd09::9/64", Cause::AddressNotAvailable),
    ] {
        let address: IpNetwork = address.parse().unwrap();
        let spec = ServerSpec::new("app", SocketAddr::new(address.ip(), 0));
        netns
            .netlink(async |netlink| netlink.add_address("lo", address).await)
            .unwrap();
        Server::start(&netns, &spec).unwrap();
        netns
            .netlink(async |netlink| netlink.delete_address("lo", address).await)
            .unwrap();
        assert_eq!(Server::start(&netns, &spec).unwrap_err().cause, removed);
    }
}

#[test]
fn what_the_kernel_refuses_is_named() {
    let netns = Netns::new().unwrap();
    let via: IpAddr = "192.0.2.1".parse().unwrap();
    let refused = netns
        .netlink(async |netlink| netlink.add_route(&Route::default_via(via)).await)
        .unwrap_err();
    assert!(
        refused.to_string().contains("default route via 192.0.2.1"),
        "{refused}"
    );
    let bridge = Device::named("br0");
    netns
        .netlink(async |netlink| netlink.add_bridge(&bridge).await)
        .unwrap();
    let refused = netns
        .netlink(async |netlink| netlink.add_bridge(&bridge).await)
        .unwrap_err();
    assert!(refused.to_string().contains("br0"), "{refused}");
}
