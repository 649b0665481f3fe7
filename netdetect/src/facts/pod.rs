//! One pod's network namespace.

use serde::{Deserialize, Serialize};

use super::{Clash, DefaultRoutes, Interface, Kind, NetnsId, Route, Rule};

/// What there is in a network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodFacts {
    /// Which it is.
    pub netns: NetnsId,
    /// Whether it is the node's own, as with `hostNetwork` pods.
    pub is_host: bool,
    /// Its interfaces, by index.
    pub interfaces: Vec<Interface>,
    /// Its routes to others, by family, table and destination.
    pub routes: Vec<Route>,
    /// The interfaces that carry its default routes.
    pub default_routes: DefaultRoutes,
    /// Its routing rules but for the three that every namespace begins with, by family and preference.
    pub rules: Vec<Rule>,
}

impl PodFacts {
    /// The interface of this index.
    #[must_use]
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }

    /// The interface of this name.
    #[must_use]
    pub fn interface_named(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// The pod's first interface: that of the IPv4 default route, of the IPv6 default route, or the first that leads
    /// out at all.
    #[must_use]
    pub fn primary(&self) -> Option<&Interface> {
        let by_route = [self.default_routes.v4, self.default_routes.v6]
            .into_iter()
            .flatten()
            .find_map(|index| self.interface(index));
        by_route.or_else(|| self.interfaces.iter().find(|interface| interface.leads_out()))
    }

    /// Whether IPv6 is switched off at loopback, so that no IPv6 connection can be led over it.
    #[must_use]
    pub fn loopback_without_ipv6(&self) -> bool {
        let loopback = self
            .interfaces
            .iter()
            .find(|interface| interface.kind == Kind::Loopback);
        loopback.is_some_and(|loopback| loopback.ipv6_disabled != Some(false))
    }

    /// Whether the pod has an IPv6 address that others could dial.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        let mut addresses = self
            .interfaces
            .iter()
            .filter(|interface| interface.kind != Kind::Loopback)
            .flat_map(|interface| &interface.addresses);
        addresses.any(|address| match address.ip() {
            std::net::IpAddr::V6(v6) => !v6.is_unicast_link_local(),
            std::net::IpAddr::V4(_) => false,
        })
    }

    /// The rules that get in the way of Weir's, and how.
    pub fn clashes(&self) -> impl Iterator<Item = (&Rule, Clash)> {
        self.rules.iter().filter_map(|rule| Some((rule, rule.clash()?)))
    }
}
