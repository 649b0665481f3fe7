//! A veth whose node end answers for every address, and a host route to it: Calico's way.

use super::routed::{self, Gateway};
use super::{Error, Request, ready};
use crate::mac::Mac;

// Calico gives all its host ends one address, so that pods need not learn a new one after a migration.
const HOST_MAC: Mac = Mac([0xee; 6]);

pub(super) fn attach(request: &Request<'_>) -> Result<String, Error> {
    let host_interface = format!("cali{:011x}", request.number);
    let near = request.device(&host_interface).mac(HOST_MAC);
    let node = &request.node.netns;
    node.netlink(async |netlink| netlink.add_veth(&near, &request.own_device(), request.pod).await)?;
    routed::answer_for_all_addresses(node, &host_interface)?;
    node.netlink(async |netlink| routed::route_to_pod(&netlink, request, &host_interface).await)?;
    routed::set_up_pod(request, &Gateway::answering(HOST_MAC))?;
    ready(node, &host_interface, request.family)?;
    Ok(host_interface)
}
