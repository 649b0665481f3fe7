//! The node and the host beyond its uplink.

use std::net::IpAddr;

use super::Error;
use super::addresses::{Addresses, BRIDGE, Family, LAN, POINT_TO_POINT, ROUTED, on_link};
use crate::link::{Device, Interface};
use crate::mac::Mac;
use crate::netns::Netns;
use crate::route::Route;

/// The interface by which a host is on the LAN.
pub(crate) const UPLINK: &str = "eth0";

/// A machine of the world: the node, or the remote host.
#[derive(Clone, Debug)]
pub struct Host {
    /// What the world calls it.
    pub name: &'static str,
    /// Its own namespace.
    pub netns: Netns,
    /// Its interface on the LAN.
    pub interface: String,
    /// Its addresses on the LAN.
    pub addresses: Addresses,
    /// Its Ethernet address on the LAN.
    pub mac: Mac,
}

impl Host {
    /// Its address of the same family as another's.
    pub fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        self.addresses.like(other)
    }
}

/// Makes the node and the remote host, joined by one link, each routing to what is behind the other.
pub(crate) fn node_and_remote(family: Family, mtu: Option<u32>) -> Result<(Host, Host), Error> {
    let node = machine("node", 1, family)?;
    let remote = machine("remote", 2, family)?;
    let device = |host: &Host| {
        let device = Device::named(UPLINK).mac(host.mac);
        mtu.map_or(device.clone(), |mtu| device.mtu(mtu))
    };
    node.netns.netlink(async |netlink| {
        netlink
            .add_veth(&device(&node), &device(&remote), &remote.netns)
            .await?;
        for address in node.addresses.iter() {
            netlink.add_address(UPLINK, on_link(address)).await?;
        }
        for gateway in remote.addresses.iter() {
            netlink.add_route(&Route::default_via(gateway)).await?;
        }
        Ok(())
    })?;
    remote.netns.netlink(async |netlink| {
        netlink.up(UPLINK).await?;
        for address in remote.addresses.iter() {
            netlink.add_address(UPLINK, on_link(address)).await?;
        }
        for pods in [BRIDGE, POINT_TO_POINT, ROUTED]
            .into_iter()
            .flat_map(|subnet| subnet.networks(family))
        {
            let Some(gateway) = node.address_like(pods.ip()) else {
                continue;
            };
            netlink.add_route(&Route::to(pods).via(gateway)).await?;
        }
        Ok(())
    })?;
    for host in [&node, &remote] {
        ready(&host.netns, UPLINK, family)?;
    }
    Ok((node, remote))
}

/// Waits until an interface passes frames and finds neighbours.
pub(crate) fn ready(netns: &Netns, interface: &str, family: Family) -> Result<Interface, Error> {
    Ok(netns.netlink(async |netlink| {
        if family != Family::V4 {
            netlink.link_local(interface).await?;
        }
        netlink.running(interface).await
    })?)
}

fn machine(name: &'static str, number: u8, family: Family) -> Result<Host, Error> {
    let netns = Netns::new()?;
    netns.sysctl_set("net.ipv4.ip_forward", "1")?;
    netns.sysctl_set("net.ipv6.conf.all.forwarding", "1")?;
    // Strict, as Calico demands: a datapath must not depend on loose reverse path checks.
    netns.sysctl_set("net.ipv4.conf.all.rp_filter", "1")?;
    Ok(Host {
        name,
        netns,
        interface: UPLINK.to_owned(),
        addresses: LAN.addresses(number, family),
        mac: Mac([0x52, 0x54, 0, 0, 0, number]),
    })
}
