//! Routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt as _;
use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::ReadError;
use crate::facts::{Family, Route};

/// The routes to others, by family, table, destination and metric.
pub(super) async fn routes(handle: &Handle) -> Result<Vec<Route>, ReadError> {
    let mut routes = Vec::new();
    for query in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        let messages: Vec<RouteMessage> = handle
            .route()
            .get(query)
            .execute()
            .try_collect()
            .await
            .map_err(ReadError::netlink("list routes"))?;
        routes.extend(messages.iter().filter_map(route_of));
    }
    routes.sort_by_key(|route| (route.family, route.table, route.destination, route.metric));
    Ok(routes)
}

/// The facts in a message about a route; nothing for routes that lead nowhere, or to the host itself.
#[must_use]
pub fn route_of(message: &RouteMessage) -> Option<Route> {
    let (family, length) = match message.header.address_family {
        AddressFamily::Inet => (Family::V4, 32),
        AddressFamily::Inet6 => (Family::V6, 128),
        _ => return None,
    };
    if message.header.kind != RouteType::Unicast || message.header.destination_prefix_length > length {
        return None;
    }
    let mut route = Route {
        family,
        destination: None,
        gateway: None,
        interface: None,
        table: message.header.table.into(),
        metric: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                route.destination = ip(address)
                    .and_then(|ip| IpNetwork::new(ip, message.header.destination_prefix_length).ok());
            }
            RouteAttribute::Gateway(address) => route.gateway = ip(address),
            RouteAttribute::Oif(index) => route.interface = Some(*index),
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            // Of several ways the first is as good as any: what matters is by which interface packets can leave.
            RouteAttribute::MultiPath(hops) => {
                route.interface = route.interface.or(hops.first().map(|hop| hop.interface_index));
            }
            _ => {}
        }
    }
    // A destination that cannot be read must not pass for a default route.
    if route.destination.is_none() && message.header.destination_prefix_length != 0 {
        return None;
    }
    Some(route)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
