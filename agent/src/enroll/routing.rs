//! The rules and routes that turn marked connections back over loopback.

use std::net::{Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt as _;
use netlink_packet_route::route::{RouteMessage, RouteScope, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::libc::{EACCES, EAFNOSUPPORT, EEXIST, ENODEV, ENOENT, EOPNOTSUPP, ESRCH};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};
use weir_common::mark::{self, MASK, RULE_PREFERENCE, TABLE};

use super::EnrollError;
use super::addresses::Addresses;
use super::requests::{Making, Requests};

mod seen;

use seen::Seen;

/// Loopback has this index in every network namespace.
pub(super) const LOOPBACK_INDEX: u32 = 1;
/// What becomes of connections by loopback, each by a rule of its own preference: they lead to our table, and what finds
/// no route there goes nowhere. It would leave by the pod's own routes, in clear.
const RULES: [(u32, RuleAction); 2] = [
    (RULE_PREFERENCE, RuleAction::ToTable),
    (RULE_PREFERENCE + 2, RuleAction::Unreachable),
];
/// The marks that [`RULES`] are for, and what of them is looked at.
const LOOPED: (u32, u32) = (mark::LOOPED, mark::LOOPED_MASK);
/// The preference of the rules for virtual interfaces.
const VIRTUAL_PREFERENCE: u32 = RULE_PREFERENCE + 1;

/// Makes routes for the families that the pod has addresses of, and rules for both: connections are marked whatever
/// their family, and the first address of the other one may come when nobody looks.
///
/// # Errors
/// [`EnrollError`]; what was made stays, [`remove`] takes it away.
pub fn ensure(requests: &mut Requests, addresses: &Addresses) -> Result<(), EnrollError> {
    let existing = requests.rules(Seen::read)?;
    let mut missing = Vec::new();
    for (family, route) in [
        (AddressFamily::Inet, addresses.first_v4.map(route_v4)),
        (AddressFamily::Inet6, addresses.first_v6.map(route_v6)),
    ] {
        missing.extend(route.map(|route| Making {
            message: RouteNetlinkMessage::NewRoute(route),
            replaces: true,
            step: "add a local route",
            fine: ROUTE_IS_FINE,
        }));
        for (preference, action) in RULES {
            let place = (u8::from(family), preference);
            let mut known = existing.iter().filter(|rule| rule.place == place);
            if known.clone().any(|rule| !rule.is_ours) {
                return Err(EnrollError::RuleTaken { preference });
            }
            // Connections that an earlier Weir has marked otherwise go on by its rules.
            if !known.any(|rule| rule.loops) {
                missing.push(Making {
                    message: RouteNetlinkMessage::NewRule(rule(family, (LOOPED, preference, action), None)),
                    replaces: false,
                    step: ADD_RULE,
                    fine: RULE_IS_FINE,
                });
            }
        }
    }
    requests.make(missing)
}

/// Makes the rules that lead marked packets from exactly these interfaces, behind which virtual machines are, to our
/// table. They name the interface so that they count for what arrives there and for nothing else: with a rule for the
/// mark alone, strict checks of source addresses (`src_valid_mark`) would refuse the packets.
///
/// # Errors
/// [`EnrollError::Netlink`]; [`remove`] takes away what was made.
pub async fn ensure_virtual(handle: &Handle, interfaces: &[&str]) -> Result<(), EnrollError> {
    for version in [IpVersion::V4, IpVersion::V6] {
        let existing = existing_rules(handle, version.clone()).await?;
        for rule in existing.iter().filter(|rule| is_ours(rule)) {
            if interface_of(rule).is_some_and(|interface| !interfaces.contains(&interface)) {
                gone(
                    handle.rule().del(rule.clone()).execute().await,
                    "remove a routing rule",
                )?;
            }
        }
        for interface in interfaces {
            if !existing
                .iter()
                .any(|rule| is_ours(rule) && interface_of(rule) == Some(interface))
            {
                add_rule(
                    handle,
                    version.clone(),
                    mark::VIRTUAL,
                    VIRTUAL_PREFERENCE,
                    Some(interface),
                )
                .await?;
            }
        }
    }
    if interfaces.is_empty() {
        return Ok(());
    }
    // A machine may use a family that the pod has no address of.
    everything_is_local(handle).await
}

/// Makes the rules that lead what is redirected to ztunnel, and arrives at this interface of its netns, to local
/// delivery. They name the interface for the same reason.
///
/// # Errors
/// [`EnrollError::RuleTaken`], [`EnrollError::Netlink`]; [`remove`] takes away what was made.
pub async fn ensure_ztunnel(handle: &Handle, interface: &str) -> Result<(), EnrollError> {
    let preference = RULE_PREFERENCE;
    for version in [IpVersion::V4, IpVersion::V6] {
        let existing = existing_rules(handle, version.clone()).await?;
        let mut ours = existing.iter().filter(|rule| is_ours(rule));
        if ours.any(|rule| interface_of(rule) == Some(interface)) {
            continue;
        }
        if existing
            .iter()
            .any(|rule| preference_of(rule) == Some(preference) && !is_ours(rule))
        {
            return Err(EnrollError::RuleTaken { preference });
        }
        add_rule(handle, version, mark::TO_ZTUNNEL, preference, Some(interface)).await?;
    }
    everything_is_local(handle).await
}

async fn everything_is_local(handle: &Handle) -> Result<(), EnrollError> {
    for route in [route_v4(Ipv4Addr::UNSPECIFIED), route_v6(Ipv6Addr::UNSPECIFIED)] {
        let added = handle.route().add(route).execute().await;
        tolerate(
            added,
            &[EEXIST, EACCES, EAFNOSUPPORT, EOPNOTSUPP],
            "add a local route",
        )?;
    }
    Ok(())
}

/// Takes rules and routes away, as far as they are there and ours.
///
/// # Errors
/// [`EnrollError::Netlink`] if the kernel refuses more than that.
pub async fn remove(handle: &Handle) -> Result<(), EnrollError> {
    for version in [IpVersion::V4, IpVersion::V6] {
        for rule in existing_rules(handle, version.clone()).await? {
            if is_ours(&rule) {
                gone(handle.rule().del(rule).execute().await, "remove a routing rule")?;
            }
        }
    }
    for route in [route_v4(Ipv4Addr::UNSPECIFIED), route_v6(Ipv6Addr::UNSPECIFIED)] {
        gone(handle.route().del(route).execute().await, "remove a route")?;
    }
    Ok(())
}

/// Whether the rules are there, of each family that has any: a kernel without IPv6 has none of it.
///
/// # Errors
/// [`EnrollError::Refused`].
pub fn is_complete(requests: &mut Requests) -> Result<bool, EnrollError> {
    let existing = requests.rules(Seen::read)?;
    let families = [AddressFamily::Inet, AddressFamily::Inet6].map(u8::from);
    Ok(families.into_iter().all(|family| {
        let is_there = |preference| {
            let mut ours = existing.iter().filter(|rule| rule.loops);
            ours.any(|rule| rule.place == (family, preference))
        };
        let has_none = existing.iter().all(|rule| rule.place.0 != family);
        has_none || RULES.iter().all(|(preference, _)| is_there(*preference))
    }))
}

async fn add_rule(
    handle: &Handle,
    version: IpVersion,
    mark: u32,
    preference: u32,
    interface: Option<&str>,
) -> Result<(), EnrollError> {
    let family = match version {
        IpVersion::V4 => AddressFamily::Inet,
        IpVersion::V6 => AddressFamily::Inet6,
    };
    let mut request = handle.rule().add();
    *request.message_mut() = rule(family, ((mark, MASK), preference, RuleAction::ToTable), interface);
    tolerate(request.execute().await, RULE_IS_FINE, ADD_RULE)
}

/// Where IPv6 is off on loopback there is no such route, and by the rules what is marked goes nowhere.
const ROUTE_IS_FINE: &[i32] = &[EACCES];
const ADD_RULE: &str = "add a routing rule";
const RULE_IS_FINE: &[i32] = &[EEXIST, EAFNOSUPPORT];

/// One that leads nowhere names our table all the same: that is what it is known by.
fn rule(
    family: AddressFamily,
    ((mark, mask), preference, action): ((u32, u32), u32, RuleAction),
    interface: Option<&str>,
) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = family;
    rule.header.action = action;
    rule.attributes = vec![
        RuleAttribute::Table(TABLE),
        RuleAttribute::Priority(preference),
        RuleAttribute::FwMark(mark),
        RuleAttribute::FwMask(mask),
    ];
    let interface = interface.map(|interface| RuleAttribute::Iifname(interface.to_owned()));
    rule.attributes.extend(interface);
    rule
}

pub(super) async fn existing_rules(
    handle: &Handle,
    version: IpVersion,
) -> Result<Vec<RuleMessage>, EnrollError> {
    handle
        .rule()
        .get(version)
        .execute()
        .try_collect()
        .await
        .map_err(EnrollError::netlink("list routing rules"))
}

/// Nobody else names our table.
fn is_ours(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::Table(TABLE))
}

fn preference_of(rule: &RuleMessage) -> Option<u32> {
    rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(preference) => Some(*preference),
        _ => None,
    })
}

fn interface_of(rule: &RuleMessage) -> Option<&str> {
    rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Iifname(name) => Some(name.as_str()),
        _ => None,
    })
}

fn route_v4(source: Ipv4Addr) -> RouteMessage {
    let builder = RouteMessageBuilder::<Ipv4Addr>::new()
        .table_id(TABLE)
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
        .output_interface(LOOPBACK_INDEX);
    if source.is_unspecified() {
        builder.build()
    } else {
        builder.pref_source(source).build()
    }
}

fn route_v6(source: Ipv6Addr) -> RouteMessage {
    let builder = RouteMessageBuilder::<Ipv6Addr>::new()
        .table_id(TABLE)
        .kind(RouteType::Local)
        .output_interface(LOOPBACK_INDEX);
    let mut message = if source.is_unspecified() {
        builder.build()
    } else {
        builder.pref_source(source).build()
    };
    message.header.address_family = AddressFamily::Inet6;
    message
}

/// What is to be removed may be gone already, with its interface or its family.
pub(super) fn gone(result: Result<(), rtnetlink::Error>, step: &'static str) -> Result<(), EnrollError> {
    tolerate(result, &[ENOENT, ESRCH, ENODEV, EAFNOSUPPORT], step)
}

pub(super) fn tolerate(
    result: Result<(), rtnetlink::Error>,
    fine: &[i32],
    step: &'static str,
) -> Result<(), EnrollError> {
    match result {
        Err(rtnetlink::Error::NetlinkError(message)) if fine.contains(&-message.raw_code()) => Ok(()),
        other => other.map_err(EnrollError::netlink(step)),
    }
}
