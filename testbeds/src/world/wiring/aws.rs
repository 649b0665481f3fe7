//! A veth with a host route, a gateway whose Ethernet address the pod is told, and rules that lead the pod's packets to
//! the table of the network interface its address belongs to: AWS VPC CNI's way.

use std::net::{IpAddr, Ipv6Addr};

use super::routed::{self, GATEWAY, Gateway};
use super::{Error, IpNetwork, Request, UPLINK, ready};
use crate::mac::Mac;
use crate::netlink::{self, Netlink};
use crate::route::Route;
use crate::rule::Rule;

const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const HOST_MAC: Mac = Mac([0x0a, 0x0e, 0, 0, 0, 1]);
const MAIN: u32 = 254;
/// The table of the second network interface, here the only one.
const TABLE: u32 = 2;
const TO_POD: u32 = 512;
const FROM_POD: u32 = 1536;

pub(super) fn attach(request: &Request<'_>) -> Result<String, Error> {
    let host_interface = format!("eni{:011x}", request.number);
    let near = request.device(&host_interface).mac(HOST_MAC);
    let node = &request.node.netns;
    node.netlink(async |netlink| {
        netlink
            .add_veth(&near, &request.own_device(), request.pod)
            .await?;
        routed::route_to_pod(&netlink, request, &host_interface).await?;
        for address in request.addresses().iter() {
            lead(&netlink, request, address).await?;
        }
        Ok(())
    })?;
    let gateway = Gateway {
        v4: GATEWAY,
        v6: GATEWAY_V6,
        mac: Some(HOST_MAC),
    };
    routed::set_up_pod(request, &gateway)?;
    ready(node, &host_interface, request.family)?;
    Ok(host_interface)
}

async fn lead(netlink: &Netlink, request: &Request<'_>, address: IpAddr) -> Result<(), netlink::Error> {
    let rule = if address.is_ipv4() { Rule::v4 } else { Rule::v6 };
    let pod = IpNetwork::from(address);
    netlink.add_rule(&rule(TO_POD, MAIN).to(pod)).await?;
    netlink.add_rule(&rule(FROM_POD, TABLE).from(pod)).await?;
    let Some(router) = request.remote.address_like(address) else {
        return Ok(());
    };
    let out = Route::default_via(router).dev(UPLINK).table(TABLE);
    match netlink.add_route(&out).await {
        // Another pod's.
        Err(error) if error.is_exists() => Ok(()),
        made => made,
    }
}
