//! Routes in the netns of a ztunnel that has two sides: an interface with a peer on the node, and one beside pods' own.
//! What it says to a pod, or in a pod's name, goes by the side that the pod is on; its routes alone would choose by
//! destination, so that a pod's connections went past the node that the pod is behind.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use futures::TryStreamExt as _;
use ipnetwork::IpNetwork;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteScope};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use nix::libc::{EAFNOSUPPORT, EEXIST, EOPNOTSUPP};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};
use weir_common::local_pod::LocalPod;
use weir_common::mark::{RULE_PREFERENCE, TABLE};
use weir_netdetect::facts::{Family, Route};
use weir_netdetect::read::route_of;

use super::wiring::{MAIN, Site};
use crate::datapath::{Datapath, DatapathError, Maps};
use crate::enroll::routing::{existing_rules, gone, tolerate};
use crate::enroll::{EnrollError, netlink};

/// Tables of the two sides: they have the routes of one interface each.
const HOST_SIDE: u32 = TABLE + 1;
const BESIDE: u32 = TABLE + 2;
/// Preferences of the rules: where a packet is for comes before where it is from.
const TO: u32 = RULE_PREFERENCE + 1;
const FROM: u32 = RULE_PREFERENCE + 2;

/// A rule of ours: a pod's address, as destination or source, leads to a table.
type Turn = (u32, IpAddr, u32);

/// Brings routes and rules in ztunnel's netns in line with the pods that the kernel side knows.
///
/// # Errors
/// [`EnrollError`].
pub fn divide(
    datapath: &Datapath,
    netns: BorrowedFd<'_>,
    site: &Site,
    gateways: &[IpAddr],
) -> Result<(), EnrollError> {
    // Who comes later sees the pods of all who came before, and takes none of their rules away.
    datapath.one_at_a_time(|| {
        let pods = pods(datapath.maps())?;
        netlink::run(netns, async |handle| follow(handle, site, &pods, gateways).await)
    })
}

/// A ztunnel with one side needs none.
async fn follow(
    handle: &Handle,
    site: &Site,
    pods: &[(IpAddr, LocalPod)],
    gateways: &[IpAddr],
) -> Result<(), EnrollError> {
    let (Some(joint), Some(beside)) = (&site.joint, &site.beside) else {
        return remove(handle).await;
    };
    let routes = routes_of_main(handle).await?;
    for (interface, table) in [(joint.inner.index, HOST_SIDE), (beside.inner.index, BESIDE)] {
        for route in routes.iter().filter(|route| route.interface == Some(interface)) {
            put(handle, route, table).await?;
        }
    }
    // What ztunnel says in the name of a pod beside it goes to the pod's own router.
    for gateway in gateways {
        let router = Route {
            family: if gateway.is_ipv4() { Family::V4 } else { Family::V6 },
            destination: None,
            gateway: Some(*gateway),
            interface: Some(beside.inner.index),
            table: BESIDE,
            metric: 0,
        };
        put(handle, &router, BESIDE).await?;
    }
    turn(handle, &turns(pods)).await
}

/// Takes rules and routes away.
///
/// # Errors
/// [`EnrollError::Netlink`].
pub async fn remove(handle: &Handle) -> Result<(), EnrollError> {
    turn(handle, &BTreeSet::new()).await?;
    for message in all_routes(handle).await? {
        let table = route_of(&message).map(|route| route.table);
        if table.is_some_and(|table| [HOST_SIDE, BESIDE].contains(&table)) {
            gone(handle.route().del(message).execute().await, "remove a route")?;
        }
    }
    Ok(())
}

/// All pods that the kernel side knows, by address.
fn pods(maps: &Maps) -> Result<Vec<(IpAddr, LocalPod)>, DatapathError> {
    let pods = maps.local_pods()?;
    let known = pods.iter().filter_map(Result::ok);
    Ok(known
        .filter(|(_, pod)| !pod.has(LocalPod::ZTUNNEL))
        .map(|(address, pod)| (address.into(), pod))
        .collect())
}

fn turns(pods: &[(IpAddr, LocalPod)]) -> BTreeSet<Turn> {
    let turns = |(address, pod): &(IpAddr, LocalPod)| {
        let table = if pod.has(LocalPod::STEERED) {
            BESIDE
        } else {
            HOST_SIDE
        };
        [(TO, *address, table), (FROM, *address, table)]
    };
    pods.iter().flat_map(turns).collect()
}

async fn turn(handle: &Handle, wanted: &BTreeSet<Turn>) -> Result<(), EnrollError> {
    let mut there = BTreeSet::new();
    for version in [IpVersion::V4, IpVersion::V6] {
        for rule in existing_rules(handle, version).await? {
            match turn_of(&rule) {
                Some(turn) if wanted.contains(&turn) => _ = there.insert(turn),
                Some(_) => gone(handle.rule().del(rule).execute().await, "remove a routing rule")?,
                None => {}
            }
        }
    }
    for (preference, address, table) in wanted.difference(&there) {
        let request = handle.rule().add().priority(*preference).table_id(*table);
        let request = request.action(RuleAction::ToTable);
        let added = match (*address, *preference) {
            (IpAddr::V4(v4), TO) => request.v4().destination_prefix(v4, 32).execute().await,
            (IpAddr::V4(v4), _) => request.v4().source_prefix(v4, 32).execute().await,
            (IpAddr::V6(v6), TO) => request.v6().destination_prefix(v6, 128).execute().await,
            (IpAddr::V6(v6), _) => request.v6().source_prefix(v6, 128).execute().await,
        };
        tolerate(added, &[EEXIST, EAFNOSUPPORT], "add a routing rule")?;
    }
    Ok(())
}

/// Nobody else leads to our tables.
fn turn_of(rule: &RuleMessage) -> Option<Turn> {
    let find = |wanted: fn(&RuleAttribute) -> Option<u32>| rule.attributes.iter().find_map(wanted);
    let table = find(|attribute| match attribute {
        RuleAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let preference = find(|attribute| match attribute {
        RuleAttribute::Priority(preference) => Some(*preference),
        _ => None,
    });
    let address = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Source(address) | RuleAttribute::Destination(address) => Some(*address),
        _ => None,
    });
    let table = table.filter(|table| [HOST_SIDE, BESIDE].contains(table))?;
    Some((
        preference?,
        address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        table,
    ))
}

/// Those without a router first: routers are found by them.
async fn routes_of_main(handle: &Handle) -> Result<Vec<Route>, EnrollError> {
    let messages = all_routes(handle).await?;
    let mut routes: Vec<Route> = messages.iter().filter_map(route_of).collect();
    routes.retain(|route| route.table == MAIN && !is_link_local(route.destination));
    routes.sort_by_key(|route| route.gateway.is_some());
    Ok(routes)
}

async fn all_routes(handle: &Handle) -> Result<Vec<RouteMessage>, EnrollError> {
    let mut routes = Vec::new();
    for query in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        let found = handle.route().get(query).execute();
        let found: Vec<RouteMessage> = found
            .try_collect()
            .await
            .map_err(EnrollError::netlink("list routes"))?;
        routes.extend(found);
    }
    Ok(routes)
}

fn is_link_local(destination: Option<IpNetwork>) -> bool {
    destination.is_some_and(|network| match network.ip() {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    })
}

async fn put(handle: &Handle, route: &Route, table: u32) -> Result<(), EnrollError> {
    let Some(interface) = route.interface else {
        return Ok(());
    };
    let message = message(route, interface, table);
    let added = handle.route().add(message).replace().execute().await;
    tolerate(added, &[EAFNOSUPPORT, EOPNOTSUPP], "add a route")
}

fn message(route: &Route, interface: u32, table: u32) -> RouteMessage {
    let mut message = match route.family {
        Family::V4 => RouteMessageBuilder::<Ipv4Addr>::new()
            .output_interface(interface)
            .table_id(table)
            .build(),
        Family::V6 => RouteMessageBuilder::<Ipv6Addr>::new()
            .output_interface(interface)
            .table_id(table)
            .build(),
    };
    if let Some(network) = route.destination {
        message.header.destination_prefix_length = network.prefix();
        let destination = RouteAttribute::Destination(network.ip().into());
        message.attributes.push(destination);
    }
    match (route.gateway, route.family) {
        (Some(gateway), _) => {
            message.header.flags |= RouteFlags::Onlink;
            message.attributes.push(RouteAttribute::Gateway(gateway.into()));
        }
        (None, Family::V4) => message.header.scope = RouteScope::Link,
        (None, Family::V6) => {}
    }
    message
}
