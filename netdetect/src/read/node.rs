//! The node's own namespace.

use std::fs;
use std::os::fd::BorrowedFd;

use rtnetlink::Handle;

use super::{Known, ReadError, address, inside, link, netfilter, nsid::Numbers, program, route, rule};
use crate::facts::{DefaultRoutes, Family, NetnsId, NodeFacts, Route, Settings};

/// Reads what there is in the node's own network namespace, on a thread that is made for it and ends there.
///
/// Looking for what istio-cni left takes the kernel's nf_tables, which it may load for the purpose.
///
/// # Errors
/// [`ReadError`] if it cannot be entered, or the kernel does not answer. What else cannot be read is said in the facts.
pub fn node(host: BorrowedFd<'_>) -> Result<NodeFacts, ReadError> {
    let id = NetnsId::of(host).map_err(ReadError::Identify)?;
    inside::run(host, async |handle| {
        node_inside(handle, id, &Known::new(host)).await
    })
}

/// The thread has to be in the node's namespace: not all of this is asked by the handle.
async fn node_inside(handle: &Handle, netns: NetnsId, known: &Known<'_>) -> Result<NodeFacts, ReadError> {
    let mut unread = Vec::new();
    let mut interfaces = link::interfaces(handle).await?;
    let numbers = Numbers::read(handle, netns, known).await?;
    for far_end in interfaces
        .iter_mut()
        .filter_map(|interface| interface.far_end.as_mut())
    {
        far_end.place = numbers.resolve(far_end.place);
    }
    address::fill(handle, &mut interfaces).await?;
    let routes: Vec<_> = route::routes(handle)
        .await?
        .into_iter()
        .filter(is_telling)
        .collect();
    Ok(NodeFacts {
        netns,
        programs: program::programs(handle, &interfaces, &mut unread).await?,
        interfaces,
        default_routes: DefaultRoutes::among(&routes),
        routes,
        rules: rule::rules(handle).await?,
        settings: settings(),
        leftovers: netfilter::leftovers(&mut unread),
        unread,
    })
}

/// A node may have very many routes to other nodes' pods.
fn is_telling(route: &Route) -> bool {
    let whole = match route.family {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    route
        .destination
        .is_none_or(|destination| destination.prefix() == whole)
}

fn settings() -> Settings {
    Settings {
        forward_v4: flag("ipv4/ip_forward"),
        forward_v6: flag("ipv6/conf/all/forwarding"),
        rp_filter: number("ipv4/conf/all/rp_filter"),
        rp_filter_default: number("ipv4/conf/default/rp_filter"),
        src_valid_mark: flag("ipv4/conf/all/src_valid_mark"),
        bridge_iptables: flag("bridge/bridge-nf-call-iptables"),
        bridge_ip6tables: flag("bridge/bridge-nf-call-ip6tables"),
    }
}

fn flag(name: &str) -> Option<bool> {
    number(name).map(|value| value != 0)
}

fn number(name: &str) -> Option<u8> {
    fs::read_to_string(format!("/proc/sys/net/{name}"))
        .ok()?
        .trim()
        .parse()
        .ok()
}
