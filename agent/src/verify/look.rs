//! Reads the facts.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use weir_common::names::map;
use weir_common::pod::PodEntry;

use super::facts::{NodeFacts, PodFacts};
use super::{Wanted, active};
use crate::datapath::{Datapath, DatapathError, maps};
use crate::enroll::filters::Filters;
use crate::enroll::sysctls::Needed;
use crate::enroll::{EnrollError, addresses, interfaces, netlink, port_flags, routing, sysctls};
use crate::inside::{self, Sysctls};
use crate::run::subjects::Subject;

/// What the kernel holds for all pods.
pub(super) fn node(datapath: &Datapath, unattached: Vec<&'static str>) -> Result<NodeFacts, DatapathError> {
    let mut facts = NodeFacts {
        unattached,
        ..NodeFacts::default()
    };
    for key in datapath.maps().own_addresses()?.keys() {
        let key = key.map_err(maps::wrap(map::OWN_ADDRESSES))?;
        facts
            .addresses
            .entry(key.netns)
            .or_default()
            .insert(key.address.into());
    }
    for key in datapath.maps().listeners()?.keys() {
        let key = key.map_err(maps::wrap(map::LISTENERS))?;
        if let Ok(port) = u16::try_from(key.port) {
            *facts.listeners.entry((key.netns, port)).or_default() += 1;
        }
    }
    Ok(facts)
}

/// What should be found for a pod.
pub(super) fn wanted(subject: &Subject) -> Wanted {
    Wanted {
        cookie: subject.cookie,
        flags: subject.filters.entry_flags() | PodEntry::CAPTURING,
    }
}

/// What is looked for in a pod.
pub(super) struct Looked<'a> {
    pub(super) filters: &'a Filters,
    /// What is wanted at its interfaces.
    pub(super) at_interfaces: &'a interfaces::Wanted,
    /// Whether settings that matter with time are there by now.
    pub(super) late_settings: bool,
    /// Whether connections are tried.
    pub(super) connects: bool,
}

/// What there is for one pod.
pub(super) fn pod(
    datapath: &Datapath,
    (netns, cookie): (BorrowedFd<'_>, u64),
    looked: &Looked<'_>,
) -> Result<PodFacts, EnrollError> {
    let filters = looked.filters;
    let (addresses, routing, interfaces) = netlink::ask(netns, |requests| {
        let addresses = addresses::read(requests)?;
        let routing = routing::is_complete(requests)?;
        Ok((addresses, routing, interfaces::list(requests)?))
    })?;
    let (v4, v6) = (addresses.first_v4.is_some(), addresses.first_v6.is_some());
    let targets = if looked.connects {
        active::targets(v4, v6, filters)
    } else {
        Vec::new()
    };
    let (sysctls, timestamps, connections) = inside::run(netns, || {
        let mut known = Sysctls::default();
        let late = looked.late_settings;
        let needed = Needed {
            v6: filters.uses_v6(&addresses),
            late,
        };
        (
            sysctls::are_on(&mut known, needed),
            if late {
                sysctls::has_timestamps(&mut known)
            } else {
                Ok(true)
            },
            connect(targets),
        )
    })?;
    Ok(PodFacts {
        record: datapath.maps().pod(cookie)?,
        flags: port_flags(timestamps?),
        addresses: addresses.own,
        routing,
        sysctls: sysctls?,
        lookup: datapath.lookup_attached(cookie)?,
        bare: interfaces::bare(datapath, (netns, cookie), looked.at_interfaces, &interfaces)?,
        connections,
    })
}

pub(super) fn connect(targets: Vec<IpAddr>) -> Vec<(IpAddr, Option<String>)> {
    targets
        .into_iter()
        .map(|address| (address, active::connect(address)))
        .collect()
}
