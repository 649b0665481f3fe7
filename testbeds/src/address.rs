//! Addresses of interfaces, and permanent neighbours.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};

use crate::mac::Mac;
use crate::netlink::{Error, Netlink, refused};

impl Netlink {
    /// Gives an interface an address; an IPv6 one is usable at once.
    pub async fn add_address(&self, interface: &str, address: IpNetwork) -> Result<(), Error> {
        let index = self.interface(interface).await?.index;
        let mut request = self.handle.address().add(index, address.ip(), address.prefix());
        if address.is_ipv6() {
            // Without this an address is tentative for a second, and connections from it fail.
            let message = request.message_mut();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        let object = format!("address {address} to {interface}");
        request.execute().await.map_err(refused("add", object))
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
