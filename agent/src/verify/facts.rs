//! What was found, and what is wrong with it: pure decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_common::address::Address;
use weir_common::pod::{PodEntry, PodRecord, Shown};
use weir_common::ports;

use super::check::{Check, Problem};
use crate::enroll::interfaces::Bare;
use crate::status::pinned::flag_names;

/// What the kernel holds for all pods, read once per round.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// Addresses by netns cookie.
    pub addresses: BTreeMap<u64, BTreeSet<IpAddr>>,
    /// How many listeners are registered, by netns cookie and port.
    pub listeners: BTreeMap<(u64, u16), usize>,
    /// The node's programs that are not attached where they should be.
    pub unattached: Vec<&'static str>,
}

/// What was found for one pod.
#[derive(Clone, Debug, Default)]
pub struct PodFacts {
    /// What the kernel side knows of it.
    pub record: Option<PodRecord>,
    /// Flags of the entry that settings of the netns ask for.
    pub flags: u32,
    /// The addresses in the netns.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether rules and routes are there.
    pub routing: bool,
    /// Whether the settings are on.
    pub sysctls: bool,
    /// Whether the look-up of listeners is attached.
    pub lookup: bool,
    /// Interfaces that lack their programs.
    pub bare: Bare,
    /// Connections that were tried, and why they failed.
    pub connections: Vec<(IpAddr, Option<String>)>,
}

/// What should have been found.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The pod's netns cookie.
    pub cookie: u64,
    /// Flags of its entry.
    pub flags: u32,
}

/// What is wrong.
#[must_use]
pub fn problems(wanted: Wanted, node: &NodeFacts, pod: &PodFacts) -> Vec<Problem> {
    let mut problems = Vec::new();
    let flags = wanted.flags | pod.flags;
    problems.extend(entry(
        Wanted { flags, ..wanted },
        pod.record.map(|record| record.entry),
    ));
    let known = node.addresses.get(&wanted.cookie);
    problems.extend(addresses(known, &pod.addresses).or_else(|| shown(pod.record, &pod.addresses)));
    if !pod.routing {
        let detail = "a routing rule or route that leads captured connections to ztunnel is gone";
        problems.push(Problem::new(Check::Routing, detail));
    }
    if !pod.sysctls {
        let detail = "a setting of the network namespace that captured connections need is switched off";
        problems.push(Problem::new(Check::Sysctls, detail));
    }
    if !pod.lookup {
        let detail = "the look-up of ztunnel's listeners is not attached to the network namespace";
        problems.push(Problem::new(Check::Lookup, detail));
    }
    problems.extend(bare(&pod.bare));
    if !node.unattached.is_empty() {
        let names = node.unattached.join(", ");
        let detail = format!("not attached to the node's cgroup: {names}; restart the agent");
        problems.push(Problem::new(Check::Programs, detail));
    }
    problems.extend(listeners(wanted, node));
    problems.extend(connections(&pod.connections));
    problems
}

pub(super) fn entry(wanted: Wanted, found: Option<PodEntry>) -> Option<Problem> {
    let Some(found) = found else {
        return Some(Problem::new(
            Check::Entry,
            "the kernel side does not know the pod",
        ));
    };
    (found.flags != wanted.flags).then(|| {
        let words = |flags| flag_names(PodEntry { flags, sysctls: 0 }).join(",");
        Problem::new(
            Check::Entry,
            format!(
                "the kernel side has the flags {}, not {}",
                words(found.flags),
                words(wanted.flags)
            ),
        )
    })
}

pub(super) fn addresses(known: Option<&BTreeSet<IpAddr>>, held: &BTreeSet<IpAddr>) -> Option<Problem> {
    let none = BTreeSet::new();
    let known = known.unwrap_or(&none);
    (known != held).then(|| {
        let list = |addresses: &BTreeSet<IpAddr>| {
            let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            if words.is_empty() {
                "none".to_owned()
            } else {
                words.join(", ")
            }
        };
        Problem::new(
            Check::Addresses,
            format!(
                "the pod has the addresses {}; the kernel side knows {}",
                list(held),
                list(known)
            ),
        )
    })
}

/// Beside the entry programs may see others than those in the map.
pub(super) fn shown(found: Option<PodRecord>, held: &BTreeSet<IpAddr>) -> Option<Problem> {
    let shown = found?.shown;
    let wanted = Shown::of(held.iter().copied().map(Address::from));
    (shown.complete != 0 && shown != wanted).then(|| {
        let list = shown.addresses.map(|address| IpAddr::from(address).to_string());
        let detail = format!("programs take other addresses for the pod's: {}", list.join(", "));
        Problem::new(Check::Addresses, detail)
    })
}

fn bare(bare: &Bare) -> impl Iterator<Item = Problem> {
    let told = |check, interfaces: &[String], what: &str| {
        let names = interfaces.join(", ");
        (!interfaces.is_empty())
            .then(|| Problem::new(check, format!("{what} {names}: the program there is gone")))
    };
    let guard = told(
        Check::Guard,
        &bare.unguarded,
        "nobody looks at what leaves the pod past ztunnel by",
    );
    let machines = told(
        Check::Virtual,
        &bare.uncaptured,
        "nobody captures what virtual machines send by",
    );
    guard.into_iter().chain(machines)
}

fn listeners(wanted: Wanted, node: &NodeFacts) -> Option<Problem> {
    let missing: Vec<String> = [ports::OUTBOUND, ports::INBOUND]
        .into_iter()
        .filter(|port| {
            node.listeners
                .get(&(wanted.cookie, *port))
                .is_none_or(|count| *count == 0)
        })
        .map(|port| port.to_string())
        .collect();
    (!missing.is_empty()).then(|| {
        let ports = missing.join(" and ");
        Problem::new(
            Check::Listeners,
            format!("ztunnel has no listener on {ports} that the kernel side knows"),
        )
    })
}

pub(super) fn connections(tried: &[(IpAddr, Option<String>)]) -> Option<Problem> {
    let failed: Vec<String> = tried
        .iter()
        .filter_map(|(address, failure)| Some(format!("{address}: {}", failure.as_ref()?)))
        .collect();
    (!failed.is_empty()).then(|| {
        let detail = format!(
            "a connection out of the pod does not reach ztunnel: {}",
            failed.join("; ")
        );
        Problem::new(Check::Connection, detail)
    })
}

#[cfg(test)]
mod tests;
