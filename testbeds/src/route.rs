//! Routes and rules.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteScope, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::RouteMessageBuilder;

use crate::netlink::{Error, Netlink, refused};

/// A route, described the way `ip route` writes it.
#[derive(Clone, Debug)]
pub struct Route {
    message: RouteMessage,
    destination: Option<IpNetwork>,
    gateway: Option<IpAddr>,
    interface: Option<String>,
}

impl Route {
    /// A route to a network, or to one address.
    pub fn to(destination: impl Into<IpNetwork>) -> Self {
        let destination = destination.into();
        let mut route = Self::everything(destination.ip());
        route.message.header.destination_prefix_length = destination.prefix();
        route.destination = Some(destination);
        route.attribute(RouteAttribute::Destination(destination.ip().into()))
    }

    /// The default route of the gateway's family.
    pub fn default_via(gateway: IpAddr) -> Self {
        Self::everything(gateway).via(gateway)
    }

    /// Every address of this one's family, delivered to this host: what transparent proxies need.
    pub fn local_everything(like: IpAddr) -> Self {
        Self::everything(like).local().dev("lo")
    }

    /// Goes through a gateway.
    pub fn via(mut self, gateway: IpAddr) -> Self {
        self.gateway = Some(gateway);
        self.attribute(RouteAttribute::Gateway(gateway.into()))
    }

    /// Leaves by an interface.
    pub fn dev(mut self, interface: impl Into<String>) -> Self {
        self.interface = Some(interface.into());
        self
    }

    /// Prefers a source address.
    pub fn source(self, source: IpAddr) -> Self {
        self.attribute(RouteAttribute::PrefSource(source.into()))
    }

    /// Lives in another table than main.
    pub fn table(self, table: u32) -> Self {
        self.attribute(RouteAttribute::Table(table))
    }

    /// Is reached on the link itself, as Calico's gateway is.
    pub fn link_scope(mut self) -> Self {
        self.message.header.scope = RouteScope::Link;
        self
    }

    /// Takes the gateway to be on the link although no route says so.
    pub fn onlink(mut self) -> Self {
        self.message.header.flags |= RouteFlags::Onlink;
        self
    }

    /// Delivers to this host, as `ip route add local` does.
    pub fn local(mut self) -> Self {
        self.message.header.kind = RouteType::Local;
        self.message.header.scope = RouteScope::Host;
        self
    }

    fn everything(like: IpAddr) -> Self {
        let message = match like {
            IpAddr::V4(_) => RouteMessageBuilder::<Ipv4Addr>::new().build(),
            IpAddr::V6(_) => RouteMessageBuilder::<Ipv6Addr>::new().build(),
        };
        Self {
            message,
            destination: None,
            gateway: None,
            interface: None,
        }
    }

    fn attribute(mut self, attribute: RouteAttribute) -> Self {
        self.message.attributes.push(attribute);
        self
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.destination {
            Some(destination) => write!(f, "route {destination}")?,
            None => write!(f, "default route")?,
        }
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(interface) = &self.interface {
            write!(f, " dev {interface}")?;
        }
        Ok(())
    }
}

/// A routing rule that looks up a table by mark, by source, or always.
#[derive(Clone, Debug)]
pub struct Rule {
    family: AddressFamily,
    table: u32,
    preference: u32,
    mark: Option<(u32, u32)>,
    from: Option<IpNetwork>,
}

impl Rule {
    /// A rule for IPv4.
    pub fn v4(preference: u32, table: u32) -> Self {
        Self {
            family: AddressFamily::Inet,
            table,
            preference,
            mark: None,
            from: None,
        }
    }

    /// A rule for IPv6.
    pub fn v6(preference: u32, table: u32) -> Self {
        Self {
            family: AddressFamily::Inet6,
            ..Self::v4(preference, table)
        }
    }

    /// Only packets with this mark under this mask.
    pub fn mark(mut self, mark: u32, mask: u32) -> Self {
        self.mark = Some((mark, mask));
        self
    }

    /// Only packets from this network, which must be of the rule's family.
    pub fn from(mut self, source: IpNetwork) -> Self {
        self.from = Some(source);
        self
    }

    fn fill(&self, message: &mut RuleMessage) {
        message.header.family = self.family;
        message.header.action = RuleAction::ToTable;
        message.attributes.push(RuleAttribute::Table(self.table));
        message.attributes.push(RuleAttribute::Priority(self.preference));
        if let Some((mark, mask)) = self.mark {
            message
                .attributes
                .extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
        }
        if let Some(source) = self.from {
            message.header.src_len = source.prefix();
            message.attributes.push(RuleAttribute::Source(source.ip()));
        }
    }
}

impl Netlink {
    /// Adds a route.
    pub async fn add_route(&self, route: &Route) -> Result<(), Error> {
        let mut message = route.message.clone();
        if let Some(name) = &route.interface {
            message
                .attributes
                .push(RouteAttribute::Oif(self.interface(name).await?.index));
        }
        self.handle
            .route()
            .add(message)
            .execute()
            .await
            .map_err(refused("add", route))
    }

    /// Adds a rule.
    pub async fn add_rule(&self, rule: &Rule) -> Result<(), Error> {
        let mut request = self.handle.rule().add();
        rule.fill(request.message_mut());
        let object = format!("rule {} to table {}", rule.preference, rule.table);
        request.execute().await.map_err(refused("add", object))
    }
}
