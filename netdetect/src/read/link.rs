//! Interfaces.

use futures::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoMacVtap, InfoNetkit,
    InfoVlan, IpVlanMode, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
    MacVlanMode, NetkitMode as Netkit,
};
use rtnetlink::{Handle, LinkGetRequest};

use super::ReadError;
use crate::facts::{FarEnd, Interface, IpvlanMode, Kind, Mac, MacvlanMode, NetkitMode, Place};

/// All interfaces of the namespace, by index, without addresses, and with the far ends' namespaces by number.
pub(super) async fn interfaces(handle: &Handle) -> Result<Vec<Interface>, ReadError> {
    let links: Vec<LinkMessage> = without_counts(handle.link().get())
        .execute()
        .try_collect()
        .await
        .map_err(ReadError::netlink("list interfaces"))?;
    let mut interfaces: Vec<_> = links.iter().map(interface_of).collect();
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

pub(super) fn without_counts(request: LinkGetRequest) -> LinkGetRequest {
    request.set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats])
}

/// The facts in a message about an interface, whatever it holds. Its addresses come in messages of their own; the far
/// end's namespace is told by number.
#[must_use]
pub fn interface_of(link: &LinkMessage) -> Interface {
    let mut interface = Interface {
        index: link.header.index,
        name: String::new(),
        kind: Kind::Physical {
            bus: None,
            device: None,
        },
        mac: None,
        mtu: 0,
        up: link.header.flags.contains(LinkFlags::Up),
        addresses: Vec::new(),
        controller: None,
        far_end: None,
        ipv6_disabled: None,
        xdp: Vec::new(),
    };
    let mut far = None;
    let mut nsid = None;
    let (mut bus, mut device) = (None, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Address(bytes) => interface.mac = Mac::from_slice(bytes),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::Controller(index) => interface.controller = Some(*index),
            LinkAttribute::Link(index) => far = Some(*index),
            LinkAttribute::LinkNetNsId(id) => nsid = Some(*id),
            LinkAttribute::LinkInfo(info) => interface.kind = kind(info),
            LinkAttribute::ParentDevBusName(name) => bus = Some(name.clone()),
            LinkAttribute::ParentDevName(name) => device = Some(name.clone()),
            LinkAttribute::AfSpecUnspec(families) => interface.ipv6_disabled = ipv6_disabled(families),
            LinkAttribute::Xdp(xdp) => interface.xdp = xdp.iter().filter_map(xdp_program).collect(),
            _ => {}
        }
    }
    if link.header.flags.contains(LinkFlags::Loopback) {
        interface.kind = Kind::Loopback;
        interface.mac = None;
    } else if matches!(interface.kind, Kind::Physical { .. }) {
        interface.kind = Kind::Physical { bus, device };
    }
    interface.far_end = far_end(interface.index, far, nsid);
    interface
}

/// What stands alone names itself, or zero, as its own far end.
fn far_end(own: u32, far: Option<u32>, nsid: Option<i32>) -> Option<FarEnd> {
    let index = far.filter(|far| *far != 0 && (nsid.is_some() || *far != own))?;
    Some(FarEnd {
        index,
        place: nsid.map_or(Place::Same, |nsid| Place::Elsewhere { nsid }),
        name: None,
    })
}

fn kind(info: &[LinkInfo]) -> Kind {
    let word = info.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    let data = info.iter().find_map(|info| match info {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    match word {
        // Ports of bridges have information about that, but no kind of their own.
        None => Kind::Physical {
            bus: None,
            device: None,
        },
        Some(InfoKind::Veth) => Kind::Veth,
        Some(InfoKind::Netkit) => Kind::Netkit { mode: netkit(data) },
        Some(InfoKind::MacVlan) => Kind::Macvlan { mode: macvlan(data) },
        Some(InfoKind::MacVtap) => Kind::Macvtap { mode: macvlan(data) },
        Some(InfoKind::IpVlan) => Kind::Ipvlan { mode: ipvlan(data) },
        Some(InfoKind::Vlan) => Kind::Vlan { id: vlan(data) },
        Some(InfoKind::Bridge) => Kind::Bridge,
        Some(InfoKind::Tun) => Kind::Tun,
        Some(InfoKind::Dummy) => Kind::Dummy,
        Some(InfoKind::Bond | InfoKind::Team) => Kind::Bond,
        Some(InfoKind::Other(name)) => Kind::Other { name: name.clone() },
        Some(other) => Kind::Tunnel {
            name: other.to_string(),
        },
    }
}

fn netkit(data: Option<&InfoData>) -> NetkitMode {
    let Some(InfoData::Netkit(all)) = data else {
        return NetkitMode::Unknown;
    };
    let mode = all.iter().find_map(|info| match info {
        InfoNetkit::Mode(Netkit::L2) => Some(NetkitMode::L2),
        InfoNetkit::Mode(Netkit::L3) => Some(NetkitMode::L3),
        _ => None,
    });
    mode.unwrap_or(NetkitMode::Unknown)
}

fn macvlan(data: Option<&InfoData>) -> MacvlanMode {
    let mode = match data {
        Some(InfoData::MacVlan(all)) => all.iter().find_map(|info| match info {
            InfoMacVlan::Mode(mode) => Some(mode),
            _ => None,
        }),
        Some(InfoData::MacVtap(all)) => all.iter().find_map(|info| match info {
            InfoMacVtap::Mode(mode) => Some(mode),
            _ => None,
        }),
        _ => None,
    };
    match mode {
        Some(MacVlanMode::Bridge) => MacvlanMode::Bridge,
        Some(MacVlanMode::Vepa) => MacvlanMode::Vepa,
        Some(MacVlanMode::Private) => MacvlanMode::Private,
        Some(MacVlanMode::Passthrough) => MacvlanMode::Passthru,
        Some(MacVlanMode::Source) => MacvlanMode::Source,
        Some(_) | None => MacvlanMode::Unknown,
    }
}

fn ipvlan(data: Option<&InfoData>) -> IpvlanMode {
    let Some(InfoData::IpVlan(all)) = data else {
        return IpvlanMode::Unknown;
    };
    let mode = all.iter().find_map(|info| match info {
        InfoIpVlan::Mode(IpVlanMode::L2) => Some(IpvlanMode::L2),
        InfoIpVlan::Mode(IpVlanMode::L3) => Some(IpvlanMode::L3),
        InfoIpVlan::Mode(IpVlanMode::L3S) => Some(IpvlanMode::L3s),
        _ => None,
    });
    mode.unwrap_or(IpvlanMode::Unknown)
}

/// Zero is no VLAN's number.
fn vlan(data: Option<&InfoData>) -> u16 {
    let Some(InfoData::Vlan(all)) = data else {
        return 0;
    };
    let id = all.iter().find_map(|info| match info {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    });
    id.unwrap_or(0)
}

fn ipv6_disabled(families: &[AfSpecUnspec]) -> Option<bool> {
    families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(all) => all.iter().find_map(|info| match info {
            AfSpecInet6::DevConf(settings) => Some(settings.disable_ipv6 != 0),
            _ => None,
        }),
        _ => None,
    })
}

/// With several at once the kernel names each under its mode; with one it does so too.
fn xdp_program(xdp: &LinkXdp) -> Option<u32> {
    match xdp {
        LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    }
}
