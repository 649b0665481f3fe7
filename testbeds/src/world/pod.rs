//! Pods, as the world made them.

use std::net::IpAddr;

use super::Wiring;
use super::addresses::Addresses;
use crate::mac::Mac;
use crate::netns::Netns;

/// A pod: a namespace with an interface.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name, unique in the world.
    pub name: String,
    /// A UID as Kubernetes would give it, unique among all worlds on this machine.
    pub uid: String,
    /// Its namespace.
    pub netns: Netns,
    /// `eth0`.
    pub primary: Attachment,
    /// Further interfaces, in the order they were added.
    pub secondary: Vec<Attachment>,
}

/// One interface of a pod, and how it is wired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// How it reaches the node.
    pub wiring: Wiring,
    /// Its name in the pod.
    pub interface: String,
    /// The other end in the node's namespace, if there is one.
    pub host_interface: Option<String>,
    /// Its addresses.
    pub addresses: Addresses,
    /// Its Ethernet address.
    pub mac: Mac,
}

impl Pod {
    /// The addresses of `eth0`.
    pub fn addresses(&self) -> Addresses {
        self.primary.addresses
    }

    /// The only or first address.
    pub fn address(&self) -> IpAddr {
        // A world has at least one family, so the fallback is never seen.
        self.primary
            .addresses
            .first()
            .unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
    }

    /// The address of the same family as another's.
    pub fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        self.primary.addresses.like(other)
    }

    /// The node's end of `eth0`, if there is one.
    pub fn host_interface(&self) -> Option<&str> {
        self.primary.host_interface.as_deref()
    }

    /// All interfaces, `eth0` first.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        std::iter::once(&self.primary).chain(&self.secondary)
    }
}
