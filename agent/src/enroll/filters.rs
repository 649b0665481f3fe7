//! What a pod's annotations include and exclude, in the form of map entries.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use aya::maps::lpm_trie::Key;
use ipnetwork::IpNetwork;
use weir_common::address::Address;
use weir_common::filter::{self, EXCLUDE, INCLUDE, NEITHER, PortRule, RangeRule};
use weir_common::names::map;
use weir_common::pod::PodEntry;

use super::EnrollError;
use super::addresses::Addresses;
use crate::datapath::{DatapathError, Maps, maps};
use crate::pods::capture::{Capture, Ports, Ranges};

/// A pod's flags and rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Flags of [`PodEntry`], without [`PodEntry::CAPTURING`].
    pub flags: u32,
    /// Ports by direction ([`filter::OUTBOUND`], [`filter::INBOUND`]); the value excludes or includes.
    pub ports: BTreeMap<(u16, u16), u32>,
    /// Destination ranges; the value excludes or includes.
    pub ranges: BTreeMap<IpNetwork, u32>,
    /// Interfaces inside the pod from which virtual machines send.
    pub virtual_interfaces: Vec<String>,
}

impl Filters {
    /// The flags and rules that carry out what a pod's annotations say.
    #[must_use]
    pub fn of(capture: &Capture, dns_default: bool) -> Self {
        let mut filters = Self {
            virtual_interfaces: capture
                .virtual_interfaces
                .iter()
                .map(ToString::to_string)
                .collect(),
            ..Self::default()
        };
        let outbound = &capture.outbound_filter;
        let inbound = &capture.inbound_filter;
        filters.set(PodEntry::INBOUND_BYPASS, !capture.inbound);
        filters.set(PodEntry::DNS, capture.captures_dns(dns_default));
        filters.ports(filter::OUTBOUND, &outbound.include_ports, &outbound.exclude_ports);
        filters.ports(filter::INBOUND, &inbound.include_ports, &inbound.exclude_ports);
        let all_ports_included = matches!(outbound.include_ports, Ports::All);
        if let Ranges::Only(ranges) = &outbound.include_ranges {
            filters.set(PodEntry::OUTBOUND_BY_INCLUSION, !all_ports_included);
            filters
                .ranges
                .extend(ranges.iter().map(|range| (*range, INCLUDE)));
        }
        filters.set(
            PodEntry::INBOUND_BY_INCLUSION,
            matches!(inbound.include_ports, Ports::Only(_)),
        );
        filters
            .ranges
            .extend(outbound.exclude_ranges.iter().map(|range| (*range, EXCLUDE)));
        filters
    }

    /// Whether connections by IPv6 are captured in a pod with these addresses: virtual machines have addresses of their
    /// own.
    #[must_use]
    pub const fn uses_v6(&self, addresses: &Addresses) -> bool {
        addresses.first_v6.is_some() || !self.virtual_interfaces.is_empty()
    }

    const fn set(&mut self, flag: u32, on: bool) {
        if on {
            self.flags |= flag;
        }
    }

    /// An excluded port stays excluded even if it is included too.
    fn ports(&mut self, direction: u16, include: &Ports, exclude: &BTreeSet<u16>) {
        if let Ports::Only(ports) = include {
            self.ports
                .extend(ports.iter().map(|port| ((direction, *port), INCLUDE)));
        }
        self.ports
            .extend(exclude.iter().map(|port| ((direction, *port), EXCLUDE)));
    }

    /// What the kernel is told about each range: it looks only at the longest prefix, but an exclusion holds for all
    /// that lies in it, however specific an inclusion may be.
    fn effective_ranges(&self) -> impl Iterator<Item = (IpNetwork, u32)> + '_ {
        let ruled = self.ranges.iter().map(|(range, rule)| {
            let excluded = self.ranges.iter().any(|(other, rule)| {
                *rule == EXCLUDE && other.prefix() <= range.prefix() && other.contains(range.ip())
            });
            (*range, if excluded { EXCLUDE } else { *rule })
        });
        ruled.chain(self.v4_border())
    }

    /// The kernel keeps IPv4 addresses in their mapped form, which a wide IPv6 range such as `::/0` covers; this
    /// narrower one takes IPv4 out of it again.
    fn v4_border(&self) -> Option<(IpNetwork, u32)> {
        let all_v4 = IpNetwork::new(Ipv4Addr::UNSPECIFIED.into(), 0).ok()?;
        let mapped = IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
        let covered = self.ranges.keys().any(|range| range.contains(mapped));
        (covered && !self.ranges.contains_key(&all_v4)).then_some((all_v4, NEITHER))
    }

    /// The flags that say which maps the kernel has to look at.
    #[must_use]
    pub fn entry_flags(&self) -> u32 {
        let mut flags = self.flags;
        if !self.virtual_interfaces.is_empty() {
            flags |= PodEntry::VIRTUAL;
        }
        if !self.ranges.is_empty()
            || self
                .ports
                .keys()
                .any(|(direction, _)| *direction == filter::OUTBOUND)
        {
            flags |= PodEntry::OUTBOUND_FILTER;
        }
        if self
            .ports
            .keys()
            .any(|(direction, _)| *direction == filter::INBOUND)
        {
            flags |= PodEntry::INBOUND_FILTER;
        }
        if flags & PodEntry::OUTBOUND_BY_INCLUSION != 0 {
            flags |= PodEntry::OUTBOUND_FILTER;
        }
        if flags & PodEntry::INBOUND_BY_INCLUSION != 0 {
            flags |= PodEntry::INBOUND_FILTER;
        }
        flags
    }
}

/// Writes the rules of a pod, and removes those that it has no more; there are none if it `had_rules` not.
///
/// # Errors
/// [`EnrollError::Datapath`], a full map among them.
pub fn apply(maps: &Maps, netns: u64, filters: &Filters, had_rules: bool) -> Result<(), EnrollError> {
    if !had_rules && filters.ports.is_empty() && filters.ranges.is_empty() {
        return Ok(());
    }
    let ports = filters.ports.iter().map(|((direction, port), rule)| {
        (
            PortRule {
                netns,
                direction: *direction,
                port: *port,
                reserved: 0,
            },
            *rule,
        )
    });
    let ranges = filters
        .effective_ranges()
        .map(|(range, rule)| (range_key(netns, range), rule));
    apply_ports(maps, netns, &ports.collect())?;
    apply_ranges(maps, netns, &ranges.collect::<Vec<_>>())?;
    Ok(())
}

fn apply_ports(maps: &Maps, netns: u64, wanted: &HashMap<PortRule, u32>) -> Result<(), DatapathError> {
    let mut rules = maps.port_rules()?;
    let stale: Vec<_> = rules
        .keys()
        .filter_map(Result::ok)
        .filter(|key| key.netns == netns && !wanted.contains_key(key))
        .collect();
    for (key, rule) in wanted {
        rules.insert(key, rule, 0).map_err(maps::wrap(map::PORT_RULES))?;
    }
    for key in stale {
        rules.remove(&key).map_err(maps::wrap(map::PORT_RULES))?;
    }
    Ok(())
}

fn apply_ranges(maps: &Maps, netns: u64, wanted: &[(Key<RangeRule>, u32)]) -> Result<(), DatapathError> {
    let mut rules = maps.range_rules()?;
    let same =
        |a: &Key<RangeRule>, b: &Key<RangeRule>| a.prefix_len() == b.prefix_len() && a.data() == b.data();
    let halves = RangeRule::new(netns, Address::default()).netns;
    let stale: Vec<_> = rules
        .keys()
        .filter_map(Result::ok)
        .filter(|key| key.data().netns == halves && !wanted.iter().any(|(other, _)| same(key, other)))
        .collect();
    for (key, rule) in wanted {
        rules.insert(key, rule, 0).map_err(maps::wrap(map::RANGE_RULES))?;
    }
    for key in stale {
        rules.remove(&key).map_err(maps::wrap(map::RANGE_RULES))?;
    }
    Ok(())
}

fn range_key(netns: u64, range: IpNetwork) -> Key<RangeRule> {
    let mapped = if range.is_ipv4() { 96 } else { 0 };
    let prefix = RangeRule::NETNS_BITS + mapped + u32::from(range.prefix());
    Key::new(prefix, RangeRule::new(netns, range.network().into()))
}
