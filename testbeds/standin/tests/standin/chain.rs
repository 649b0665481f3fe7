//! Rules that bring connections to a proxy without any firewall.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RulePortRange};
use weir_testbeds::link::Device;
use weir_testbeds::netns::Netns;
use weir_testbeds::route::Route;

const TABLE: u32 = 77;
const PREFERENCE: u32 = 50;

/// Sends packets that match `attributes` to the table in which every address is this host's; `like`, one of
/// the host's addresses, tells the family.
pub fn deliver_here(netns: &Netns, like: IpAddr, attributes: &[RuleAttribute]) {
    let everything = Route::local_everything(like).table(TABLE);
    // Connections that begin here keep the host's address.
    let everything = everything.source(like);
    netns
        .netlink(async |netlink| {
            // A second rule to the same table finds the route in place.
            netlink.add_route(&everything).await.unwrap_or_default();
            let mut request = netlink.handle().rule().add();
            let message = request.message_mut();
            message.header.family = if like.is_ipv4() {
                AddressFamily::Inet
            } else {
                AddressFamily::Inet6
            };
            message.header.action = RuleAction::ToTable;
            message.attributes = [RuleAttribute::Table(TABLE), RuleAttribute::Priority(PREFERENCE)].into();
            message.attributes.extend_from_slice(attributes);
            request.execute().await.unwrap();
            Ok(())
        })
        .unwrap();
}

/// What an application answers to a spoofed client returns to the proxy, as a redirector would see to it:
/// the mark of the proxy's connection is inherited by the application's.
pub fn return_replies(pod: &Netns, like: IpAddr, application_port: u16) {
    pod.sysctl_set("net.ipv4.tcp_fwmark_accept", "1").unwrap();
    // The proxy's own listener has the same mark, so the port has to tell them apart.
    let port = RulePortRange {
        start: application_port,
        end: application_port,
    };
    let mark = [RuleAttribute::FwMark(0x539), RuleAttribute::FwMask(0xfff)];
    deliver_here(
        pod,
        like,
        &[&mark[..], &[RuleAttribute::SourcePortRange(port)]].concat(),
    );
}

/// A client, a proxy and a server in a row; whatever passes the proxy is delivered to it.
pub struct Chain {
    pub client: Netns,
    pub proxy: Netns,
    pub server: Netns,
}

pub const CLIENT: &str = "10.9.1.2";
pub const SERVER: &str = "10.9.2.2";

impl Chain {
    pub fn new() -> Self {
        let [client, proxy, server] = [(); 3].map(|()| Netns::new().unwrap());
        proxy.sysctl_set("net.ipv4.conf.all.rp_filter", "0").unwrap();
        proxy.sysctl_set("net.ipv4.conf.default.rp_filter", "0").unwrap();
        for (end, name, gateway, address) in [
            (&client, "to-client", "10.9.1.1", CLIENT),
            (&server, "to-server", "10.9.2.1", SERVER),
        ] {
            join(&proxy, name, gateway, end, address);
            deliver_here(
                &proxy,
                gateway.parse().unwrap(),
                &[RuleAttribute::Iifname(name.to_owned())],
            );
        }
        Self {
            client,
            proxy,
            server,
        }
    }
}

fn join(router: &Netns, name: &str, gateway: &str, end: &Netns, address: &str) {
    let on_link = |text: &str| IpNetwork::new(text.parse().unwrap(), 24).unwrap();
    router
        .netlink(async |netlink| {
            netlink
                .add_veth(&Device::named(name), &Device::named("eth0"), end)
                .await?;
            netlink.add_address(name, on_link(gateway)).await
        })
        .unwrap();
    end.netlink(async |netlink| {
        netlink.up("eth0").await?;
        netlink.add_address("eth0", on_link(address)).await?;
        netlink
            .add_route(&Route::default_via(gateway.parse().unwrap()))
            .await
    })
    .unwrap();
}
