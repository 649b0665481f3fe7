//! A child of the node's uplink, moved into the pod: it is on the LAN, and the node is not in its way.

use super::{Error, MacVlanMode, Request, UPLINK, on_link};
use crate::netlink::{self, Netlink};
use crate::route::Route;

pub(super) fn attach(request: &Request<'_>, mode: MacVlanMode) -> Result<(), Error> {
    request.node.netns.netlink(async |netlink| {
        netlink
            .add_macvlan(&request.own_device(), UPLINK, mode, request.pod)
            .await
    })?;
    set_up_on_lan(request)
}

/// Gives a child that has just been moved into the pod its name, and an address on the LAN.
pub(super) fn set_up_on_lan(request: &Request<'_>) -> Result<(), Error> {
    request.pod.netlink(async |netlink| {
        netlink.name_child(request.interface).await?;
        for address in request.addresses().iter() {
            netlink.add_address(request.interface, on_link(address)).await?;
        }
        if request.is_primary() {
            lead_to_router(&netlink, request).await?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The LAN's router, since no child can reach its own node.
async fn lead_to_router(netlink: &Netlink, request: &Request<'_>) -> Result<(), netlink::Error> {
    for gateway in request.remote.addresses.iter() {
        netlink.add_route(&Route::default_via(gateway)).await?;
    }
    Ok(())
}
