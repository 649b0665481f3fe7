//! What of an enrolled pod's traffic is captured: the pod's annotations, and the decisions that follow from them.
//!
//! | annotation | value | default | effect |
//! |---|---|---|---|
//! | `ambient.istio.io/bypass-inbound-capture` | bool | `false` | `true`: no inbound connection is captured |
//! | `ambient.istio.io/dns-capture` | bool | the node's setting | overrides it for the pod |
//! | `istio.io/reroute-virtual-interfaces` | interfaces | none | TCP that arrives on them is outbound |
//! | `traffic.sidecar.istio.io/includeInboundPorts` | `*` or ports | `*` | only these are captured; empty: none |
//! | `traffic.sidecar.istio.io/excludeInboundPorts` | ports | none | these are not |
//! | `traffic.sidecar.istio.io/includeOutboundIPRanges` | `*` or ranges | `*` | only these destinations are captured; empty: none |
//! | `traffic.sidecar.istio.io/excludeOutboundIPRanges` | ranges | none | these are not |
//! | `traffic.sidecar.istio.io/includeOutboundPorts` | `*` or ports | none | captured to any destination, also outside the included ranges |
//! | `traffic.sidecar.istio.io/excludeOutboundPorts` | ports | none | not captured; with 53 among them, neither is DNS |
//!
//! Precedence, outbound: excluded ports, excluded ranges, included ports, included ranges. Inbound: the bypass,
//! excluded ports, included ports. An exclusion always wins. (Istio's sidecars ignore `excludeInboundPorts` when
//! `includeInboundPorts` is a list; here a port in both is excluded.) DNS capture looks at excluded ports only,
//! as Istio's does.
//!
//! Lists are separated by commas, blanks around an item are ignored, ports are single, ranges are CIDR
//! (`10.0.0.0/8`, `fd00::/8`), and none has more than [`MAX_ITEMS`] different items. A value that breaks these
//! rules counts as absent as a whole, and is reported as an [`AnnotationWarning`]: the pod stays enrolled, and
//! in doubt its traffic is captured. Loopback, the pod's own addresses and ztunnel's port 15008 are settled before
//! these filters are asked.

mod annotations;
mod filter;
mod interface;
mod lists;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use annotations::{AnnotationWarning, Excerpt, Problem};
pub use filter::{Exclusion, InboundFilter, OutboundFilter, Ports, Ranges};
pub use interface::{InterfaceName, InterfaceNameError};
pub use lists::MAX_ITEMS;

use super::pod::StringMap;
use annotations::Reader;

const DNS_PORT: u16 = 53;

/// What of a pod's traffic is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Whether inbound connections are captured at all.
    pub inbound: bool,
    /// Whether DNS is captured, where the pod says so itself.
    pub dns: Option<bool>,
    /// Interfaces inside the pod behind which others (virtual machines) connect out.
    pub virtual_interfaces: Vec<InterfaceName>,
    /// Which outbound connections.
    pub outbound_filter: OutboundFilter,
    /// Which inbound connections, if any.
    pub inbound_filter: InboundFilter,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            inbound: true,
            dns: None,
            virtual_interfaces: Vec::new(),
            outbound_filter: OutboundFilter::default(),
            inbound_filter: InboundFilter::default(),
        }
    }
}

impl Capture {
    /// Reads a pod's annotations. What is malformed keeps its default and is warned about.
    #[must_use]
    pub fn from_annotations(annotations: &StringMap) -> (Self, Vec<AnnotationWarning>) {
        let mut reader = Reader::new(annotations);
        let capture = Self {
            inbound: !reader.bypass_inbound(),
            dns: reader.dns(),
            virtual_interfaces: reader.virtual_interfaces(),
            outbound_filter: reader.outbound_filter(),
            inbound_filter: reader.inbound_filter(),
        };
        (capture, reader.into_warnings())
    }

    /// Why a TCP connection of the pod to `address`, `port` is not captured; `None` if it is.
    #[must_use]
    pub fn outbound_exclusion(&self, address: IpAddr, port: u16) -> Option<Exclusion> {
        self.outbound_filter.exclusion(address, port)
    }

    /// Why a TCP connection to the pod's `port` is not captured; `None` if it is.
    #[must_use]
    pub fn inbound_exclusion(&self, port: u16) -> Option<Exclusion> {
        if self.inbound {
            self.inbound_filter.exclusion(port)
        } else {
            Some(Exclusion::InboundBypassed)
        }
    }

    /// Whether DNS is captured, on a node whose own setting is `node_default`.
    #[must_use]
    pub fn captures_dns(&self, node_default: bool) -> bool {
        self.dns.unwrap_or(node_default) && !self.outbound_filter.exclude_ports.contains(&DNS_PORT)
    }
}
