//! A child of the node's uplink, moved into the pod: it is on the LAN, and the node is not in its way.

use super::{Error, MacVlanMode, Request, UPLINK, on_link};
use crate::route::Route;

pub(super) fn attach(request: &Request<'_>) -> Result<(), Error> {
    request.node.netns.netlink(async |netlink| {
        let child = request.device(request.interface);
        netlink
            .add_macvlan(&child, UPLINK, MacVlanMode::Bridge, request.pod)
            .await
    })?;
    request.pod.netlink(async |netlink| {
        netlink.name_macvlan(request.interface).await?;
        for address in request.addresses().iter() {
            netlink.add_address(request.interface, on_link(address)).await?;
        }
        if request.is_primary() {
            // The LAN's router, since no macvlan child can reach its own node.
            for gateway in request.remote.addresses.iter() {
                netlink.add_route(&Route::default_via(gateway)).await?;
            }
        }
        Ok(())
    })?;
    Ok(())
}
