//! A veth whose node end has the gateway's address: GKE's way, and that of the `ptp` plugin.

use std::net::Ipv4Addr;

use super::routed::{self, Gateway};
use super::{Error, IpNetwork, Request, ready};
use crate::mac::Mac;

const HOST_MAC: Mac = Mac([0x0a, 0x58, 10, 246, 0, 1]);
/// In the pods' own subnet, and at every node end.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 246, 0, 1);

pub(super) fn attach(request: &Request<'_>) -> Result<String, Error> {
    let host_interface = format!("gke{:08x}", request.number);
    let near = request.device(&host_interface).mac(HOST_MAC);
    let node = &request.node.netns;
    node.netlink(async |netlink| {
        netlink
            .add_veth(&near, &request.own_device(), request.pod)
            .await?;
        if request.addresses().v4.is_some() {
            netlink
                .add_address(&host_interface, IpNetwork::from(std::net::IpAddr::V4(GATEWAY)))
                .await?;
        }
        routed::route_to_pod(&netlink, request, &host_interface).await
    })?;
    let gateway = Gateway {
        v4: GATEWAY,
        ..Gateway::answering(HOST_MAC)
    };
    routed::set_up_pod(request, &gateway)?;
    ready(node, &host_interface, request.family)?;
    Ok(host_interface)
}
