//! A netkit pair with a host route: Cilium's way on new kernels.

use super::routed::{self, Gateway};
use super::{Error, Request, ready};
use crate::mac::Mac;

const HOST_MAC: Mac = Mac([0x0a, 0x0c, 0, 0, 0, 1]);

pub(super) fn attach(request: &Request<'_>) -> Result<String, Error> {
    let host_interface = format!("lxc{:011x}", request.number);
    let near = request.device(&host_interface).mac(HOST_MAC);
    let node = &request.node.netns;
    node.netlink(async |netlink| {
        netlink
            .add_netkit(&near, &request.own_device(), request.pod)
            .await
    })?;
    routed::answer_for_all_addresses(node, &host_interface)?;
    node.netlink(async |netlink| routed::route_to_pod(&netlink, request, &host_interface).await)?;
    routed::set_up_pod(request, &Gateway::answering(HOST_MAC))?;
    ready(node, &host_interface, request.family)?;
    Ok(host_interface)
}
