//! A child of the node's uplink that shares its Ethernet address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::macvlan::set_up_on_lan;
use super::{Error, IpVlanMode, Request, UPLINK};
use crate::route::Route;

/// On the LAN.
pub(super) fn attach_on_lan(request: &Request<'_>) -> Result<(), Error> {
    make(request, IpVlanMode::L2)?;
    set_up_on_lan(request)
}

/// Routed by the node's tables, although not by the node: there is no gateway to be asked for.
pub(super) fn attach_routed(request: &Request<'_>, mode: IpVlanMode) -> Result<(), Error> {
    make(request, mode)?;
    request.pod.netlink(async |netlink| {
        netlink.name_child(request.interface).await?;
        for address in request.addresses().iter() {
            netlink
                .add_address(request.interface, IpNetwork::from(address))
                .await?;
            if request.is_primary() {
                netlink
                    .add_route(&Route::to(everything_like(address)).dev(request.interface))
                    .await?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn make(request: &Request<'_>, mode: IpVlanMode) -> Result<(), Error> {
    let made = request.node.netns.netlink(async |netlink| {
        netlink
            .add_ipvlan(&request.own_device(), UPLINK, mode, request.pod)
            .await
    });
    Ok(made?)
}

#[expect(clippy::expect_used, reason = "0 is a prefix length of both families")]
fn everything_like(address: IpAddr) -> IpNetwork {
    let unspecified = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNetwork::new(unspecified, 0).expect("a valid prefix length")
}
