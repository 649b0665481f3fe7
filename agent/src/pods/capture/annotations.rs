//! Reading a pod's annotations, with a warning for each that cannot be obeyed.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::filter::{InboundFilter, OutboundFilter};
use super::interface::InterfaceName;
use super::lists::{self, MAX_ITEMS};
use crate::pods::pod::StringMap;

const BYPASS_INBOUND: &str = "ambient.istio.io/bypass-inbound-capture";
const DNS_CAPTURE: &str = "ambient.istio.io/dns-capture";
const VIRTUAL_INTERFACES: &str = "istio.io/reroute-virtual-interfaces";
const INCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeInboundPorts";
const EXCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
const INCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeOutboundPorts";
const EXCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
const INCLUDE_OUTBOUND_RANGES: &str = "traffic.sidecar.istio.io/includeOutboundIPRanges";
const EXCLUDE_OUTBOUND_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";

/// An annotation that counts as absent because its value makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {annotation} is ignored: {problem}")]
pub struct AnnotationWarning {
    /// Its key.
    pub annotation: &'static str,
    /// What is wrong, and how to put it right.
    pub problem: Problem,
}

/// What is wrong with an annotation's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not a truth value.
    #[error("{0} is neither true nor false: write \"true\" or \"false\"")]
    NotABoolean(Excerpt),
    /// Not a port.
    #[error("{0} is not a port: write numbers from 1 to 65535, separated by commas")]
    NotAPort(Excerpt),
    /// Several ports in one item.
    #[error("{0} is a range of ports: list each port by itself")]
    PortRange(Excerpt),
    /// Not a range of addresses.
    #[error("{0} is not an IP range: write CIDR such as 10.0.0.0/8 or fd00::/8, separated by commas")]
    NotARange(Excerpt),
    /// An address where a range is wanted.
    #[error("{0} has no prefix length: write {0}/{length} for this one address", length = if .0.is_ipv4() { 32 } else { 128 })]
    NoPrefixLength(IpAddr),
    /// Not the name of an interface.
    #[error("{0} is not an interface name: write 1 to 15 bytes without blanks, '/' or ':'")]
    NotAnInterface(Excerpt),
    /// Nothing between two commas.
    #[error("it has an empty item: remove the extra comma")]
    EmptyItem,
    /// `*` where it means nothing.
    #[error("\"*\" can only stand alone, and only in an include: list the items, or use \"*\" by itself")]
    MisplacedStar,
    /// More than there is room for.
    #[error(
        "it has more than {MAX_ITEMS} items: shorten the list, for example by joining neighbouring ranges"
    )]
    TooMany,
}

/// A quoted piece of an annotation's value, short enough for a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    const LONGEST: usize = 48;

    pub(super) fn new(text: &str) -> Self {
        let mut excerpt: String = text.chars().take(Self::LONGEST).collect();
        if excerpt.len() < text.len() {
            excerpt.push('…');
        }
        Self(excerpt)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Reads annotations one by one and collects the warnings.
pub(super) struct Reader<'a> {
    annotations: &'a StringMap,
    warnings: Vec<AnnotationWarning>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(annotations: &'a StringMap) -> Self {
        Self {
            annotations,
            warnings: Vec::new(),
        }
    }

    pub(super) fn bypass_inbound(&mut self) -> bool {
        self.read(BYPASS_INBOUND, lists::boolean).unwrap_or(false)
    }

    pub(super) fn dns(&mut self) -> Option<bool> {
        self.read(DNS_CAPTURE, lists::boolean)
    }

    pub(super) fn virtual_interfaces(&mut self) -> Vec<InterfaceName> {
        self.read(VIRTUAL_INTERFACES, lists::interfaces)
            .unwrap_or_default()
    }

    pub(super) fn inbound_filter(&mut self) -> InboundFilter {
        let defaults = InboundFilter::default();
        InboundFilter {
            exclude_ports: self.ports(EXCLUDE_INBOUND_PORTS),
            include_ports: self
                .read(INCLUDE_INBOUND_PORTS, lists::ports_or_all)
                .unwrap_or(defaults.include_ports),
        }
    }

    pub(super) fn outbound_filter(&mut self) -> OutboundFilter {
        let defaults = OutboundFilter::default();
        OutboundFilter {
            exclude_ports: self.ports(EXCLUDE_OUTBOUND_PORTS),
            exclude_ranges: self.ranges(EXCLUDE_OUTBOUND_RANGES),
            include_ports: self
                .read(INCLUDE_OUTBOUND_PORTS, lists::ports_or_all)
                .unwrap_or(defaults.include_ports),
            include_ranges: self
                .read(INCLUDE_OUTBOUND_RANGES, lists::ranges_or_all)
                .unwrap_or(defaults.include_ranges),
        }
    }

    pub(super) fn into_warnings(self) -> Vec<AnnotationWarning> {
        self.warnings
    }

    fn ports(&mut self, annotation: &'static str) -> BTreeSet<u16> {
        self.read(annotation, lists::ports).unwrap_or_default()
    }

    fn ranges(&mut self, annotation: &'static str) -> BTreeSet<IpNetwork> {
        self.read(annotation, lists::ranges).unwrap_or_default()
    }

    /// The value if there is one that makes sense; one that does not is warned about.
    fn read<T>(&mut self, annotation: &'static str, parse: impl Fn(&str) -> Result<T, Problem>) -> Option<T> {
        match parse(self.annotations.get(annotation)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.warnings.push(AnnotationWarning { annotation, problem });
                None
            }
        }
    }
}
