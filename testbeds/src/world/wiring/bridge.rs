//! A bridge in the node that is the gateway of its pods.

use super::{BRIDGE, Error, Request, on_link, ready};
use crate::link::Device;
use crate::mac::Mac;
use crate::netlink::{self, Netlink};
use crate::route::Route;

const NAME: &str = "cni0";
const GATEWAY: u8 = 1;
// A bridge without an address of its own takes over its ports' and changes it with them.
const MAC: Mac = Mac([0x0a, 0x58, 10, 244, 0, GATEWAY]);

pub(super) fn attach(request: &Request<'_>) -> Result<String, Error> {
    let host_interface = format!("veth{:08x}", request.number);
    request.node.netns.netlink(async |netlink| {
        ensure_bridge(&netlink, request).await?;
        let near = request.device(&host_interface);
        netlink
            .add_veth(&near, &request.own_device(), request.pod)
            .await?;
        netlink.enslave(&host_interface, NAME).await
    })?;
    request.pod.netlink(async |netlink| {
        netlink.up(request.interface).await?;
        for address in request.addresses().iter() {
            netlink.add_address(request.interface, on_link(address)).await?;
        }
        if request.is_primary() {
            for gateway in BRIDGE.addresses(GATEWAY, request.family).iter() {
                netlink.add_route(&Route::default_via(gateway)).await?;
            }
        }
        Ok(())
    })?;
    request
        .node
        .netns
        .netlink(async |netlink| netlink.running(&host_interface).await)?;
    // The bridge has a carrier as soon as one of its ports has.
    ready(&request.node.netns, NAME, request.family)?;
    Ok(host_interface)
}

async fn ensure_bridge(netlink: &Netlink, request: &Request<'_>) -> Result<(), netlink::Error> {
    match netlink.interface(NAME).await {
        Err(netlink::Error::NoInterface(_)) => {}
        other => return other.map(drop),
    }
    netlink.add_bridge(&Device::named(NAME).mac(MAC)).await?;
    for gateway in BRIDGE.addresses(GATEWAY, request.family).iter() {
        netlink.add_address(NAME, on_link(gateway)).await?;
    }
    Ok(())
}
