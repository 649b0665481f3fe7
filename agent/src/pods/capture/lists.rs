//! The values of annotations: booleans and comma-separated lists.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::annotations::{Excerpt, Problem};
use super::filter::{Ports, Ranges};
use super::interface::InterfaceName;

/// Most items of one list: what the kernel side has room for.
pub const MAX_ITEMS: usize = 64;

const EVERYTHING: &str = "*";

/// The spellings that Go's `strconv.ParseBool` knows, which is what Istio uses.
pub(super) fn boolean(value: &str) -> Result<bool, Problem> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Problem::NotABoolean(Excerpt::new(value))),
    }
}

pub(super) fn ports_or_all(value: &str) -> Result<Ports, Problem> {
    if value.trim() == EVERYTHING {
        Ok(Ports::All)
    } else {
        ports(value).map(Ports::Only)
    }
}

pub(super) fn ports(value: &str) -> Result<BTreeSet<u16>, Problem> {
    Ok(list(value, port)?.into_iter().collect())
}

pub(super) fn ranges_or_all(value: &str) -> Result<Ranges, Problem> {
    if value.trim() == EVERYTHING {
        Ok(Ranges::All)
    } else {
        ranges(value).map(Ranges::Only)
    }
}

pub(super) fn ranges(value: &str) -> Result<BTreeSet<IpNetwork>, Problem> {
    Ok(list(value, range)?.into_iter().collect())
}

pub(super) fn interfaces(value: &str) -> Result<Vec<InterfaceName>, Problem> {
    list(value, |item| {
        InterfaceName::new(item).map_err(|_| Problem::NotAnInterface(Excerpt::new(item)))
    })
}

/// The different items of a list, in the order of their first appearance. Blank text is the empty list.
fn list<T: PartialEq>(value: &str, parse: impl Fn(&str) -> Result<T, Problem>) -> Result<Vec<T>, Problem> {
    let mut items = Vec::new();
    if value.trim().is_empty() {
        return Ok(items);
    }
    for text in value.split(',').map(str::trim) {
        if text.is_empty() {
            return Err(Problem::EmptyItem);
        }
        if text == EVERYTHING {
            return Err(Problem::MisplacedStar);
        }
        let item = parse(text)?;
        if items.contains(&item) {
            continue;
        }
        // Refused here rather than at the end, so that a huge annotation costs no more than a full list.
        if items.len() == MAX_ITEMS {
            return Err(Problem::TooMany);
        }
        items.push(item);
    }
    Ok(items)
}

fn port(item: &str) -> Result<u16, Problem> {
    let is_range = item
        .split_once(['-', ':'])
        .is_some_and(|(low, high)| is_number(low) && is_number(high));
    if is_range {
        return Err(Problem::PortRange(Excerpt::new(item)));
    }
    // Checked for digits because Rust's parser accepts a leading `+`.
    let number = if is_number(item) { item.parse().ok() } else { None };
    number
        .filter(|port| *port != 0)
        .ok_or_else(|| Problem::NotAPort(Excerpt::new(item)))
}

fn range(item: &str) -> Result<IpNetwork, Problem> {
    if let Ok(address) = item.parse::<IpAddr>() {
        return Err(Problem::NoPrefixLength(address));
    }
    parse_range(item).ok_or_else(|| Problem::NotARange(Excerpt::new(item)))
}

/// Only `address/length`: netmasks, which the network type would read as well, are not CIDR.
fn parse_range(item: &str) -> Option<IpNetwork> {
    let (address, length) = item.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length = if is_number(length) {
        length.parse().ok()?
    } else {
        return None;
    };
    let range = IpNetwork::new(address, length).ok()?;
    canonical(IpNetwork::new(range.network(), length).ok()?)
}

/// A range inside `::ffff:0:0/96` is the IPv4 range that it stands for.
fn canonical(range: IpNetwork) -> Option<IpNetwork> {
    match (range.ip().to_canonical(), range.prefix().checked_sub(96)) {
        (IpAddr::V4(address), Some(length)) if range.is_ipv6() => IpNetwork::new(address.into(), length).ok(),
        _ => Some(range),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}
