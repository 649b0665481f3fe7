//! Routing rules.

use futures::TryStreamExt as _;
use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use nix::libc::{EAFNOSUPPORT, EOPNOTSUPP};
use rtnetlink::{Handle, IpVersion};

use super::ReadError;
use crate::facts::{Family, Rule};

/// The rules that a namespace begins with, by preference and table.
const BEGIN: [(u32, u32); 3] = [(0, 255), (32766, 254), (32767, 253)];

/// The rules that somebody added, by family and preference.
pub(super) async fn rules(handle: &Handle) -> Result<Vec<Rule>, ReadError> {
    let mut rules = Vec::new();
    for version in [IpVersion::V4, IpVersion::V6] {
        rules.extend(listed(handle, version).await?.iter().filter_map(rule_of));
    }
    rules.sort_by_key(|rule| (rule.family, rule.preference));
    Ok(rules)
}

async fn listed(handle: &Handle, version: IpVersion) -> Result<Vec<RuleMessage>, ReadError> {
    let answer = handle.rule().get(version).execute().try_collect().await;
    match answer {
        // A kernel without this family, or without rules for it.
        Err(rtnetlink::Error::NetlinkError(error))
            if [EAFNOSUPPORT, EOPNOTSUPP].contains(&error.raw_code().wrapping_neg()) =>
        {
            Ok(Vec::new())
        }
        other => other.map_err(ReadError::netlink("list routing rules")),
    }
}

/// The facts in a message about a rule; nothing for the three that every namespace begins with.
#[must_use]
pub fn rule_of(message: &RuleMessage) -> Option<Rule> {
    let family = match message.header.family {
        AddressFamily::Inet => Family::V4,
        AddressFamily::Inet6 => Family::V6,
        _ => return None,
    };
    let mut rule = Rule {
        family,
        preference: 0,
        mark: None,
        mask: None,
        source: None,
        destination: None,
        interface: None,
        table: message.header.table.into(),
    };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(preference) => rule.preference = *preference,
            RuleAttribute::FwMark(mark) => rule.mark = Some(*mark),
            RuleAttribute::FwMask(mask) => rule.mask = Some(*mask),
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Iifname(name) => rule.interface = Some(name.clone()),
            RuleAttribute::Source(address) => {
                rule.source = IpNetwork::new(*address, message.header.src_len).ok();
            }
            RuleAttribute::Destination(address) => {
                rule.destination = IpNetwork::new(*address, message.header.dst_len).ok();
            }
            _ => {}
        }
    }
    // The kernel tells a mask of all bits even for rules that ask for no mark.
    if rule.mark.is_none() && rule.mask == Some(u32::MAX) {
        rule.mask = None;
    }
    // A mask without a mark asks for the mark 0.
    rule.mark = rule.mark.or(rule.mask.filter(|mask| *mask != 0).map(|_| 0));
    (!begins_so(&rule)).then_some(rule)
}

fn begins_so(rule: &Rule) -> bool {
    let asks = rule.mark.is_some()
        || rule.source.is_some()
        || rule.destination.is_some()
        || rule.interface.is_some();
    !asks && BEGIN.contains(&(rule.preference, rule.table))
}
