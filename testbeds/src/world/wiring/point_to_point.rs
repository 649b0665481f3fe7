//! A veth whose node end answers for every address, and a host route to it: Calico's way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Error, IpNetwork, Request, ready};
use crate::mac::Mac;
use crate::route::Route;

// Calico gives all its host ends one address, so that pods need not learn a new one after a migration.
const HOST_MAC: Mac = Mac([0xee; 6]);
const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
// The link-local address that follows from the Ethernet address.
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);

pub(super) fn attach(request: &Request<'_>) -> Result<String, Error> {
    let host_interface = format!("cali{:011x}", request.number);
    let near = request.device(&host_interface).mac(HOST_MAC);
    let far = request.device(request.interface);
    request
        .node
        .netns
        .netlink(async |netlink| netlink.add_veth(&near, &far, request.pod).await)?;
    answer_for_all_addresses(request, &host_interface)?;
    request.node.netns.netlink(async |netlink| {
        for address in request.addresses().iter() {
            netlink
                .add_route(&Route::to(address).dev(&host_interface).link_scope())
                .await?;
        }
        Ok(())
    })?;
    set_up_pod(request)?;
    ready(&request.node.netns, &host_interface, request.family)?;
    Ok(host_interface)
}

fn answer_for_all_addresses(request: &Request<'_>, host_interface: &str) -> Result<(), Error> {
    let node = &request.node.netns;
    node.sysctl_set(&format!("net.ipv4.conf.{host_interface}.proxy_arp"), "1")?;
    node.sysctl_set(&format!("net.ipv6.conf.{host_interface}.proxy_ndp"), "1")?;
    // By default a proxy waits up to 0.8 s with each answer.
    node.sysctl_set(&format!("net.ipv4.neigh.{host_interface}.proxy_delay"), "0")?;
    Ok(())
}

fn set_up_pod(request: &Request<'_>) -> Result<(), Error> {
    request.pod.netlink(async |netlink| {
        netlink.up(request.interface).await?;
        for address in request.addresses().iter() {
            netlink
                .add_address(request.interface, IpNetwork::from(address))
                .await?;
            if !request.is_primary() {
                continue;
            }
            let gateway = gateway_like(address);
            if gateway.is_ipv4() {
                netlink
                    .add_route(&Route::to(gateway).dev(request.interface).link_scope())
                    .await?;
            }
            netlink
                .add_route(&Route::default_via(gateway).dev(request.interface))
                .await?;
        }
        Ok(())
    })?;
    Ok(())
}

fn gateway_like(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(GATEWAY_V4),
        IpAddr::V6(_) => IpAddr::V6(GATEWAY_V6),
    }
}
