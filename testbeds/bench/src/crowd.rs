//! Pods that only have to be there.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use weir_testbeds::link::Device;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;

/// A namespace with the interface of a pod.
pub fn pod(mesh: &Mesh, number: usize) -> Result<Netns> {
    let netns = Netns::new()?;
    let (here, there) = (Device::named(format!("bench{number}")), Device::named("eth0"));
    let node = &mesh.world.node.netns;
    node.netlink(async |netlink| netlink.add_veth(&here, &there, &netns).await)?;
    let [high, low] = u16::try_from(number)?.to_be_bytes();
    let address = IpAddr::V4(Ipv4Addr::new(10, 250, high, low));
    netns.netlink(async |netlink| {
        netlink.up("eth0").await?;
        netlink.add_address("eth0", address.into()).await
    })?;
    Ok(netns)
}
