//! Azure CNI's two ways.

use std::net::Ipv6Addr;

use super::routed::{self, GATEWAY, Gateway};
use super::{Error, Request, UPLINK, on_link, ready};
use crate::link::Device;
use crate::mac::Mac;
use crate::netlink::{self, Netlink};
use crate::route::Route;

const HOST_MAC: Mac = Mac([0xaa; 6]);
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x1234, 0x5678, 0x9abc);
const BRIDGE: &str = "azure0";

/// Transparent: a host route, and a gateway whose Ethernet address the pod is told.
pub(super) fn attach_transparent(request: &Request<'_>) -> Result<String, Error> {
    let host_interface = host_interface(request);
    let near = request.device(&host_interface).mac(HOST_MAC);
    let node = &request.node.netns;
    node.netlink(async |netlink| netlink.add_veth(&near, &request.own_device(), request.pod).await)?;
    routed::answer_for_all_addresses(node, &host_interface)?;
    node.netlink(async |netlink| routed::route_to_pod(&netlink, request, &host_interface).await)?;
    let gateway = Gateway {
        v4: GATEWAY,
        v6: GATEWAY_V6,
        mac: Some(HOST_MAC),
    };
    routed::set_up_pod(request, &gateway)?;
    ready(node, &host_interface, request.family)?;
    Ok(host_interface)
}

/// Bridge: the node's uplink is a port of the bridge, which has the node's addresses, and pods are on the LAN. What
/// the plugin does besides, one Ethernet address for all, the LAN here does not ask for.
pub(super) fn attach_bridge(request: &Request<'_>) -> Result<String, Error> {
    let host_interface = host_interface(request);
    let node = &request.node.netns;
    node.netlink(async |netlink| {
        ensure_bridge(&netlink, request).await?;
        let near = request.device(&host_interface);
        netlink
            .add_veth(&near, &request.own_device(), request.pod)
            .await?;
        netlink.enslave(&host_interface, BRIDGE).await
    })?;
    request.pod.netlink(async |netlink| {
        netlink.up(request.interface).await?;
        for address in request.addresses().iter() {
            netlink.add_address(request.interface, on_link(address)).await?;
        }
        if request.is_primary() {
            for router in request.remote.addresses.iter() {
                netlink.add_route(&Route::default_via(router)).await?;
            }
        }
        Ok(())
    })?;
    node.netlink(async |netlink| netlink.running(&host_interface).await)?;
    ready(node, BRIDGE, request.family)?;
    Ok(host_interface)
}

fn host_interface(request: &Request<'_>) -> String {
    format!("azv{:011x}", request.number)
}

async fn ensure_bridge(netlink: &Netlink, request: &Request<'_>) -> Result<(), netlink::Error> {
    match netlink.interface(BRIDGE).await {
        Err(netlink::Error::NoInterface(_)) => {}
        other => return other.map(drop),
    }
    netlink
        .add_bridge(&Device::named(BRIDGE).mac(request.node.mac))
        .await?;
    netlink.enslave(UPLINK, BRIDGE).await?;
    netlink.running(BRIDGE).await?;
    let routers = || request.remote.addresses.iter();
    for router in routers() {
        netlink.delete_route(&Route::default_via(router)).await?;
    }
    for address in request.node.addresses.iter() {
        netlink.delete_address(UPLINK, on_link(address)).await?;
        netlink.add_address(BRIDGE, on_link(address)).await?;
    }
    for router in routers() {
        netlink.add_route(&Route::default_via(router).dev(BRIDGE)).await?;
    }
    Ok(())
}
