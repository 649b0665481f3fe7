//! Links to the remote host that lead past the node: what is beyond them is the fabric, and the remote host its router.

use super::routed::{self, Gateway};
use super::{Error, MacVlanMode, Request, UPLINK, ready};
use crate::link::Device;
use crate::mac::Mac;

const FAR_MAC: Mac = Mac([0x52, 0x54, 0, 0, 1, 1]);

/// A device of the fabric, moved into the pod. The node does not have its other end.
pub(super) fn attach_device(request: &Request<'_>) -> Result<(), Error> {
    let far = format!("vf{}", request.number);
    request.remote.netns.netlink(async |netlink| {
        let device = request.device(&far).mac(FAR_MAC);
        netlink
            .add_veth(&device, &request.own_device(), request.pod)
            .await
    })?;
    set_up(request, &far)
}

/// The only child of a link of its own.
pub(super) fn attach_passthru(request: &Request<'_>) -> Result<(), Error> {
    let link = format!("pf{}", request.number);
    let node = &request.node.netns;
    request.remote.netns.netlink(async |netlink| {
        let far = request.device(&link).mac(FAR_MAC);
        netlink.add_veth(&far, &request.device(&link), node).await
    })?;
    node.netlink(async |netlink| {
        netlink.up(&link).await?;
        netlink
            .add_macvlan(
                &request.own_device(),
                &link,
                MacVlanMode::Passthrough,
                request.pod,
            )
            .await
    })?;
    request
        .pod
        .netlink(async |netlink| netlink.name_child(request.interface).await)?;
    set_up(request, &link)
}

/// A VLAN of the node's uplink, one for each pod.
pub(super) fn attach_vlan(request: &Request<'_>) -> Result<(), Error> {
    let far = format!("{UPLINK}.{}", request.number);
    let id = u16::from(request.number);
    request.remote.netns.netlink(async |netlink| {
        let device = request.device(&far).mac(FAR_MAC);
        netlink
            .add_vlan(&device, UPLINK, id, &request.remote.netns)
            .await?;
        netlink.name_child(&far).await
    })?;
    request.node.netns.netlink(async |netlink| {
        let device: Device = request.own_device();
        netlink.add_vlan(&device, UPLINK, id, request.pod).await
    })?;
    request
        .pod
        .netlink(async |netlink| netlink.name_child(request.interface).await)?;
    set_up(request, &far)
}

/// Gives the pod its addresses, with the far end for its gateway.
fn set_up(request: &Request<'_>, far: &str) -> Result<(), Error> {
    let remote = &request.remote.netns;
    remote.netlink(async |netlink| routed::route_to_pod(&netlink, request, far).await)?;
    // The remote host has no route to what the pods call their gateway, so it would not answer for it.
    let gateway = Gateway {
        mac: Some(FAR_MAC),
        ..Gateway::answering(FAR_MAC)
    };
    routed::set_up_pod(request, &gateway)?;
    ready(remote, far, request.family)?;
    Ok(())
}
