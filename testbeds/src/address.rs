//! Addresses of interfaces, and permanent neighbours.

use std::net::IpAddr;
use std::time::Instant;

use futures::TryStreamExt;
use ipnetwork::IpNetwork;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};

use crate::deadline::PATIENCE;
use crate::mac::Mac;
use crate::netlink::{Error, Netlink, POLL, refused};

/// An address that an interface has.
struct Held {
    address: IpAddr,
    tentative: bool,
}

impl Held {
    fn read(message: &AddressMessage) -> Option<Self> {
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })?;
        Some(Self {
            address,
            tentative: message.header.flags.contains(AddressHeaderFlags::Tentative),
        })
    }

    fn is(&self, address: IpAddr) -> bool {
        self.address == address
    }

    fn is_link_local(&self) -> bool {
        matches!(self.address, IpAddr::V6(v6) if v6.is_unicast_link_local())
    }
}

impl Netlink {
    /// Gives an interface an address, and waits until it is usable.
    pub async fn add_address(&self, interface: &str, address: IpNetwork) -> Result<(), Error> {
        let index = self.interface(interface).await?.index;
        let request = self.handle.address().add(index, address.ip(), address.prefix());
        let object = format!("address {address} to {interface}");
        request.execute().await.map_err(refused("add", object))?;
        self.settled(interface, |addresses| {
            addresses.iter().any(|known| known.is(address.ip()))
        })
        .await
    }

    /// Waits until an interface has an IPv6 link-local address: without it, it cannot look for neighbours.
    pub async fn link_local(&self, interface: &str) -> Result<(), Error> {
        self.settled(interface, |addresses| addresses.iter().any(Held::is_link_local))
            .await
    }

    /// The kernel joins an IPv6 address's solicited-node group in the background, even without duplicate
    /// address detection; a neighbour solicitation that comes before that is lost, and costs a second.
    async fn settled(&self, interface: &str, enough: impl Fn(&[Held]) -> bool) -> Result<(), Error> {
        let index = self.interface(interface).await?.index;
        let end = Instant::now() + PATIENCE;
        loop {
            let request = self.handle.address().get().set_link_index_filter(index).execute();
            let messages: Vec<_> = request
                .try_collect()
                .await
                .map_err(refused("list addresses of", interface))?;
            let held: Vec<_> = messages.iter().filter_map(Held::read).collect();
            if enough(&held) && !held.iter().any(|address| address.tentative) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Error::Tentative(interface.to_owned()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Takes an address from an interface.
    pub async fn delete_address(&self, interface: &str, address: IpNetwork) -> Result<(), Error> {
        let index = self.interface(interface).await?.index;
        let mut request = self.handle.address().add(index, address.ip(), address.prefix());
        let message = request.message_mut().clone();
        let object = format!("address {address} of {interface}");
        self.handle
            .address()
            .del(message)
            .execute()
            .await
            .map_err(refused("delete", object))
    }

    /// Adds a neighbour that is never asked for and never expires.
    pub async fn add_neighbour(&self, interface: &str, address: IpAddr, mac: Mac) -> Result<(), Error> {
        let index = self.interface(interface).await?.index;
        let request = self
            .handle
            .neighbours()
            .add(index, address)
            .link_layer_address(&mac.0)
            .replace();
        let object = format!("neighbour {address} at {mac} on {interface}");
        request.execute().await.map_err(refused("add", object))
    }
}
