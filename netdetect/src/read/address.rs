//! Addresses.

use futures::TryStreamExt as _;
use ipnetwork::IpNetwork;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::Handle;

use super::ReadError;
use crate::facts::Interface;

/// Gives the interfaces their addresses.
pub(super) async fn fill(handle: &Handle, interfaces: &mut [Interface]) -> Result<(), ReadError> {
    let messages: Vec<AddressMessage> = handle
        .address()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(ReadError::netlink("list addresses"))?;
    for message in &messages {
        let owner = interfaces
            .iter_mut()
            .find(|interface| interface.index == message.header.index);
        if let (Some(owner), Some(address)) = (owner, address_of(message)) {
            owner.addresses.push(address);
        }
    }
    for interface in interfaces {
        // Stable: within a family the order is the kernel's, which says which one is preferred.
        interface.addresses.sort_by_key(IpNetwork::is_ipv6);
    }
    Ok(())
}

/// The interface's own address: on point-to-point links `Address` is the other side's, and `Local` is there too.
fn address_of(message: &AddressMessage) -> Option<IpNetwork> {
    let mut own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => own = own.or(Some(*address)),
            _ => {}
        }
    }
    IpNetwork::new(own?, message.header.prefix_len).ok()
}
