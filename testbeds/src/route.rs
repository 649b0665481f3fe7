//! Routes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteScope, RouteType};
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

impl Netlink {
    /// Adds a route.
    pub async fn add_route(&self, route: &Route) -> Result<(), Error> {
        let message = self.complete(route).await?;
        self.handle
            .route()
            .add(message)
            .execute()
            .await
            .map_err(refused("add", route))
    }

    /// Removes a route.
    pub async fn delete_route(&self, route: &Route) -> Result<(), Error> {
        let message = self.complete(route).await?;
        self.handle
            .route()
            .del(message)
            .execute()
            .await
            .map_err(refused("delete", route))
    }

    async fn complete(&self, route: &Route) -> Result<RouteMessage, Error> {
        let mut message = route.message.clone();
        if let Some(name) = &route.interface {
            message
                .attributes
                .push(RouteAttribute::Oif(self.interface(name).await?.index));
        }
        Ok(message)
    }
}
