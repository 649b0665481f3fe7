//! Interfaces: making, finding, changing and removing them.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use futures::TryStreamExt;
use netlink_packet_route::link::{
    InfoData, InfoNetkit, InfoVeth, IpVlanMode, LinkAttribute, LinkFlags, LinkMessage, MacVlanMode,
    NetkitMode,
};
use rtnetlink::{
    LinkBridge, LinkIpVlan, LinkMacVlan, LinkMessageBuilder, LinkNetkit, LinkUnspec, LinkVeth, LinkVlan,
};

use crate::deadline::PATIENCE;
use crate::mac::Mac;
use crate::netlink::{Error, Netlink, POLL, refused};
use crate::netns::Netns;

/// What a child of another interface is called on its way.
const UNNAMED_CHILD: &str = "child-unnamed";

/// What a new interface is to look like.
#[derive(Clone, Debug)]
pub struct Device {
    name: String,
    mac: Option<Mac>,
    mtu: Option<u32>,
}

/// An interface as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; `lo` and tunnels may have none.
    pub mac: Option<Mac>,
    /// Its MTU.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it also has a carrier, and passes frames.
    pub running: bool,
}

impl Device {
    /// An interface with the kernel's choice of everything but the name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mac: None,
            mtu: None,
        }
    }

    /// Sets the Ethernet address.
    pub fn mac(mut self, mac: Mac) -> Self {
        self.mac = Some(mac);
        self
    }

    /// Sets the MTU.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    fn shape<T>(&self, mut builder: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
        if let Some(Mac(mac)) = self.mac {
            builder = builder.address(mac.to_vec());
        }
        if let Some(mtu) = self.mtu {
            builder = builder.mtu(mtu);
        }
        builder
    }
}

impl Netlink {
    /// Makes a veth pair, one end here and up, the other in `peer_netns` and still down.
    ///
    /// The kernel refuses (ENOTCONN) to set the peer up before the pair is complete.
    pub async fn add_veth(&self, here: &Device, peer: &Device, peer_netns: &Netns) -> Result<(), Error> {
        let far = peer
            .shape(LinkUnspec::new_with_name(&peer.name))
            .setns_by_fd(peer_netns.as_fd().as_raw_fd());
        let near = here
            .shape(LinkVeth::new(&here.name, &peer.name))
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far.build())))
            .up();
        self.add_link(&here.name, near.build()).await
    }

    /// Makes a bridge and sets it up.
    pub async fn add_bridge(&self, bridge: &Device) -> Result<(), Error> {
        self.add_link(
            &bridge.name,
            bridge.shape(LinkBridge::new(&bridge.name)).up().build(),
        )
        .await
    }

    /// Makes a netkit pair that carries Ethernet, one end here and up, the other in `peer_netns` and still down.
    pub async fn add_netkit(&self, here: &Device, peer: &Device, peer_netns: &Netns) -> Result<(), Error> {
        let far = peer
            .shape(LinkUnspec::new_with_name(&peer.name))
            .setns_by_fd(peer_netns.as_fd().as_raw_fd());
        let pair = vec![InfoNetkit::Mode(NetkitMode::L2), InfoNetkit::Peer(far.build())];
        let near = here
            .shape(LinkNetkit::new(&here.name, &peer.name, NetkitMode::L2))
            .set_info_data(InfoData::Netkit(pair))
            .up();
        self.add_link(&here.name, near.build()).await
    }

    /// Makes a macvlan child of `parent` in the namespace where it is wanted; `name_child` there makes it usable.
    pub async fn add_macvlan(
        &self,
        child: &Device,
        parent: &str,
        mode: MacVlanMode,
        netns: &Netns,
    ) -> Result<(), Error> {
        let parent = self.interface(parent).await?.index;
        self.add_child(child, LinkMacVlan::new(UNNAMED_CHILD, parent, mode), netns)
            .await
    }

    /// Makes an ipvlan child of `parent` in the namespace where it is wanted; `name_child` there makes it usable.
    pub async fn add_ipvlan(
        &self,
        child: &Device,
        parent: &str,
        mode: IpVlanMode,
        netns: &Netns,
    ) -> Result<(), Error> {
        let parent = self.interface(parent).await?.index;
        self.add_child(child, LinkIpVlan::new(UNNAMED_CHILD, parent, mode), netns)
            .await
    }

    /// Makes a VLAN of `parent` in the namespace where it is wanted; `name_child` there makes it usable.
    pub async fn add_vlan(&self, child: &Device, parent: &str, id: u16, netns: &Netns) -> Result<(), Error> {
        let parent = self.interface(parent).await?.index;
        self.add_child(child, LinkVlan::new(UNNAMED_CHILD, parent, id), netns)
            .await
    }

    /// Older kernels make it beside its parent first, where its name may be taken: it gets that once it is away.
    async fn add_child<T>(
        &self,
        child: &Device,
        link: LinkMessageBuilder<T>,
        netns: &Netns,
    ) -> Result<(), Error> {
        let link = child.shape(link).setns_by_fd(netns.as_fd().as_raw_fd());
        self.add_link(&child.name, link.build()).await
    }

    /// Gives the child that has just been made here its name, and sets it up.
    pub async fn name_child(&self, name: &str) -> Result<(), Error> {
        let index = self.interface(UNNAMED_CHILD).await?.index;
        let change = LinkUnspec::new_with_index(index).name(name.to_owned());
        self.change_link("name", name, change.build()).await?;
        self.up(name).await
    }

    /// Makes an interface a port of a bridge.
    pub async fn enslave(&self, name: &str, bridge: &str) -> Result<(), Error> {
        let bridge = self.interface(bridge).await?.index;
        let change = LinkUnspec::new_with_name(name).controller(bridge);
        self.change_link("enslave", name, change.build()).await
    }

    /// Sets an interface up.
    pub async fn up(&self, name: &str) -> Result<(), Error> {
        self.change_link("set up", name, LinkUnspec::new_with_name(name).up().build())
            .await
    }

    /// Sets an interface down.
    pub async fn down(&self, name: &str) -> Result<(), Error> {
        self.change_link("set down", name, LinkUnspec::new_with_name(name).down().build())
            .await
    }

    /// Changes an interface's MTU.
    pub async fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), Error> {
        self.change_link(
            "set the MTU of",
            name,
            LinkUnspec::new_with_name(name).mtu(mtu).build(),
        )
        .await
    }

    /// Removes an interface, and with a veth its peer.
    pub async fn delete_link(&self, name: &str) -> Result<(), Error> {
        let index = self.interface(name).await?.index;
        self.handle
            .link()
            .del(index)
            .execute()
            .await
            .map_err(refused("delete", name))
    }

    /// Waits until an interface passes frames.
    ///
    /// The kernel activates the end of a veth that was set up first in the background, and until then drops
    /// what it sends; a lost ARP request or neighbour solicitation would cost a second.
    pub async fn running(&self, name: &str) -> Result<Interface, Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            let interface = self.interface(name).await?;
            if interface.running {
                return Ok(interface);
            }
            if Instant::now() > end {
                return Err(Error::NoCarrier(name.to_owned()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Reads one interface.
    pub async fn interface(&self, name: &str) -> Result<Interface, Error> {
        let mut answers = self.handle.link().get().match_name(name.to_owned()).execute();
        match answers.try_next().await {
            Ok(Some(link)) => Ok(read(&link)),
            Ok(None) => Err(Error::NoInterface(name.to_owned())),
            Err(rtnetlink::Error::NetlinkError(answer)) if is_no_such_device(answer.raw_code()) => {
                Err(Error::NoInterface(name.to_owned()))
            }
            Err(source) => Err(refused("read", name)(source)),
        }
    }

    /// Reads all interfaces.
    pub async fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        let links: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(refused("list", "interfaces"))?;
        Ok(links.iter().map(read).collect())
    }

    async fn add_link(&self, name: &str, link: LinkMessage) -> Result<(), Error> {
        self.handle
            .link()
            .add(link)
            .execute()
            .await
            .map_err(refused("add", name))
    }

    async fn change_link(&self, step: &'static str, name: &str, change: LinkMessage) -> Result<(), Error> {
        self.handle
            .link()
            .set(change)
            .execute()
            .await
            .map_err(refused(step, name))
    }
}

fn is_no_such_device(code: i32) -> bool {
    code == -(nix::errno::Errno::ENODEV as i32)
}

fn read(link: &LinkMessage) -> Interface {
    let mut interface = Interface {
        index: link.header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: link.header.flags.contains(LinkFlags::Up),
        running: link.header.flags.contains(LinkFlags::Running),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Address(bytes) => interface.mac = Mac::from_slice(bytes),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            _ => {}
        }
    }
    interface
}
