//! The interfaces of a pod: which are guarded, and behind which its virtual machines are.

use std::os::fd::BorrowedFd;

use futures::TryStreamExt as _;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::Handle;

use super::{EnrollError, netlink, routing};
use crate::datapath::{Datapath, Interface, Link};

/// What is wanted at the interfaces of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether the ways out of the pod are guarded.
    pub guard: bool,
    /// Names of interfaces from which virtual machines send; those that are not there yet are taken up later.
    pub virtual_interfaces: Vec<String>,
}

impl Wanted {
    fn names(&self) -> Vec<&str> {
        self.virtual_interfaces.iter().map(String::as_str).collect()
    }
}

/// Brings the programs at the interfaces of a pod, and the routing rules that they need, in line with what is wanted
/// and with the interfaces that are there. To be called again when an interface comes.
///
/// # Errors
/// [`EnrollError`] names the step.
pub fn ensure(
    datapath: &Datapath,
    netns: BorrowedFd<'_>,
    cookie: u64,
    wanted: &Wanted,
) -> Result<(), EnrollError> {
    let interfaces = netlink::run(netns, async |handle| prepare(handle, wanted).await)?;
    attach(datapath, netns, cookie, wanted, interfaces)
}

/// The part of it that asks the namespace: makes the rules, lists the interfaces.
///
/// # Errors
/// [`EnrollError::Netlink`].
pub(super) async fn prepare(handle: &Handle, wanted: &Wanted) -> Result<Vec<Interface>, EnrollError> {
    routing::ensure_virtual(handle, &wanted.names()).await?;
    list(handle).await
}

/// The part that attaches programs.
///
/// # Errors
/// [`EnrollError::Datapath`] names the interface.
pub(super) fn attach(
    datapath: &Datapath,
    netns: BorrowedFd<'_>,
    cookie: u64,
    wanted: &Wanted,
    interfaces: Vec<Interface>,
) -> Result<(), EnrollError> {
    let names = wanted.names();
    let (inner, mut outer): (Vec<_>, Vec<_>) = interfaces
        .into_iter()
        .partition(|interface| names.contains(&interface.name.as_str()));
    if !wanted.guard {
        outer.clear();
    }
    datapath.attach_guard(netns, cookie, &outer)?;
    Ok(datapath.attach_virtual(netns, cookie, &inner)?)
}

/// Takes the programs at the interfaces of a pod away, and the rules of its virtual interfaces.
///
/// # Errors
/// The first [`EnrollError`]; the other steps are taken all the same.
pub fn remove(datapath: &Datapath, netns: BorrowedFd<'_>, cookie: u64) -> Result<(), EnrollError> {
    let steps = [
        datapath
            .attach_virtual(netns, cookie, &[])
            .map_err(EnrollError::from),
        datapath
            .attach_guard(netns, cookie, &[])
            .map_err(EnrollError::from),
        netlink::run(netns, async |handle| routing::ensure_virtual(handle, &[]).await),
    ];
    steps.into_iter().collect()
}

/// The interfaces of the namespace that `handle` belongs to, without loopback.
///
/// # Errors
/// [`EnrollError::Netlink`].
pub async fn list(handle: &Handle) -> Result<Vec<Interface>, EnrollError> {
    let links: Vec<LinkMessage> = handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(EnrollError::netlink("list interfaces"))?;
    Ok(links
        .iter()
        .filter(|link| !link.header.flags.contains(LinkFlags::Loopback))
        .filter_map(read)
        .collect())
}

fn read(link: &LinkMessage) -> Option<Interface> {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    Some(Interface {
        index: link.header.index,
        name,
        link: match link.header.link_layer_type {
            LinkLayerType::Ether => Link::Ethernet,
            _ => Link::Ip,
        },
    })
}
