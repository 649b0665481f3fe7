//! Pods that know nobody but their gateway, at the other end of a link: the many ways of doing that share this.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::{Error, Request};
use crate::mac::Mac;
use crate::netlink::{self, Netlink};
use crate::netns::Netns;
use crate::route::Route;

/// The gateway of most such pods: nobody has this address, whoever is at the other end answers for it.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// What a pod is told of its gateway.
pub(super) struct Gateway {
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Ipv6Addr,
    /// Its Ethernet address, where the pod does not ask for it.
    pub(super) mac: Option<Mac>,
}

impl Gateway {
    /// One that answers when it is asked.
    pub(super) fn answering(mac: Mac) -> Self {
        Self {
            v4: GATEWAY,
            v6: link_local(mac),
            mac: None,
        }
    }

    fn like(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => IpAddr::V4(self.v4),
            IpAddr::V6(_) => IpAddr::V6(self.v6),
        }
    }
}

/// The address that follows from an Ethernet address (RFC 4291, appendix A).
fn link_local(Mac([a, b, c, d, e, f]): Mac) -> Ipv6Addr {
    let pair = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        pair(a ^ 2, b),
        pair(c, 0xff),
        pair(0xfe, d),
        pair(e, f),
    )
}

/// Makes the other end answer for every address that the pod asks for.
pub(super) fn answer_for_all_addresses(netns: &Netns, interface: &str) -> Result<(), Error> {
    netns.sysctl_set(&format!("net.ipv4.conf.{interface}.proxy_arp"), "1")?;
    netns.sysctl_set(&format!("net.ipv6.conf.{interface}.proxy_ndp"), "1")?;
    // By default a proxy waits up to 0.8 s with each answer.
    netns.sysctl_set(&format!("net.ipv4.neigh.{interface}.proxy_delay"), "0")?;
    Ok(())
}

/// Leads the pod's addresses to the other end.
pub(super) async fn route_to_pod(
    netlink: &Netlink,
    request: &Request<'_>,
    interface: &str,
) -> Result<(), netlink::Error> {
    for address in request.addresses().iter() {
        netlink
            .add_route(&Route::to(address).dev(interface).link_scope())
            .await?;
    }
    Ok(())
}

/// Gives the pod's interface its addresses, and leads everything to the gateway.
pub(super) fn set_up_pod(request: &Request<'_>, gateway: &Gateway) -> Result<(), Error> {
    request.pod.netlink(async |netlink| {
        netlink.up(request.interface).await?;
        for address in request.addresses().iter() {
            netlink
                .add_address(request.interface, IpNetwork::from(address))
                .await?;
            if request.is_primary() {
                lead_to(&netlink, request, gateway.like(address), gateway.mac).await?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

async fn lead_to(
    netlink: &Netlink,
    request: &Request<'_>,
    gateway: IpAddr,
    mac: Option<Mac>,
) -> Result<(), netlink::Error> {
    if let Some(mac) = mac {
        netlink.add_neighbour(request.interface, gateway, mac).await?;
    }
    if gateway.is_ipv4() {
        netlink
            .add_route(&Route::to(gateway).dev(request.interface).link_scope())
            .await?;
    }
    netlink
        .add_route(&Route::default_via(gateway).dev(request.interface))
        .await
}
