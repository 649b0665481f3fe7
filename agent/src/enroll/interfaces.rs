//! The interfaces of a pod: which are guarded, and behind which its virtual machines are.

use std::os::fd::BorrowedFd;

use super::redirect::inspect;
use super::requests::{Requests, attribute, number};
use super::{EnrollError, netlink, routing};
use crate::datapath::{Datapath, Interface, Link};

const IFINFOMSG: usize = 16;

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
    let interfaces = netlink::ask(netns, |requests| prepare(requests, netns, wanted, false))?;
    attach(datapath, (netns, cookie), wanted, interfaces, false)
}

/// The part of it that asks the namespace: makes the rules, lists the interfaces if programs are wanted there. A new pod has nothing of ours that
/// would have to be taken away.
///
/// # Errors
/// [`EnrollError::Netlink`].
pub(super) fn prepare(
    requests: &mut Requests,
    netns: BorrowedFd<'_>,
    wanted: &Wanted,
    is_new: bool,
) -> Result<Vec<Interface>, EnrollError> {
    if !(is_new && wanted.virtual_interfaces.is_empty()) {
        let names = wanted.names();
        netlink::run(netns, async |handle| {
            routing::ensure_virtual(handle, &names).await
        })?;
    }
    // A link has some hundred attributes: whoever needs none of the interfaces does not ask for them.
    if wanted.guard || !wanted.virtual_interfaces.is_empty() {
        list(requests)
    } else {
        Ok(Vec::new())
    }
}

/// The part that attaches programs.
///
/// # Errors
/// [`EnrollError::Datapath`] names the interface.
pub(super) fn attach(
    datapath: &Datapath,
    (netns, cookie): (BorrowedFd<'_>, u64),
    wanted: &Wanted,
    interfaces: Vec<Interface>,
    is_new: bool,
) -> Result<(), EnrollError> {
    let names = wanted.names();
    let (inner, mut outer): (Vec<_>, Vec<_>) = interfaces
        .into_iter()
        .partition(|interface| names.contains(&interface.name.as_str()));
    if !wanted.guard {
        outer.clear();
    }
    if !(is_new && outer.is_empty()) {
        datapath.attach_guard(netns, cookie, &outer)?;
    }
    if !(is_new && inner.is_empty()) {
        datapath.attach_virtual(netns, cookie, &inner)?;
    }
    Ok(())
}

/// Interfaces, by name, at which a program is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bare {
    /// Ways out that are not guarded.
    pub unguarded: Vec<String>,
    /// Those behind which there are virtual machines that are not captured.
    pub uncaptured: Vec<String>,
}

/// Which of the pod's interfaces lack what [`ensure`] puts there.
///
/// # Errors
/// [`EnrollError`] if links or filters cannot be read.
pub fn bare(
    datapath: &Datapath,
    (netns, cookie): (BorrowedFd<'_>, u64),
    wanted: &Wanted,
    interfaces: &[Interface],
) -> Result<Bare, EnrollError> {
    let (names, mut bare) = (wanted.names(), Bare::default());
    for interface in interfaces {
        let is_virtual = names.contains(&interface.name.as_str());
        if !is_virtual && !wanted.guard {
            continue;
        }
        let filters = inspect::filters(datapath, netns, interface.index)?;
        if is_virtual && !datapath.virtual_attached(cookie, interface.index, &filters)? {
            bare.uncaptured.push(interface.name.clone());
        } else if !is_virtual && !datapath.guard_attached(cookie, interface.index, &filters)? {
            bare.unguarded.push(interface.name.clone());
        }
    }
    Ok(bare)
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

/// The interfaces of the namespace that `requests` belong to, without loopback.
///
/// # Errors
/// [`EnrollError::Refused`].
pub fn list(requests: &mut Requests) -> Result<Vec<Interface>, EnrollError> {
    requests.links(read)
}

/// `struct ifinfomsg`, and its attributes.
fn read(link: &[u8]) -> Option<Interface> {
    let kind = u16::from_ne_bytes([*link.get(2)?, *link.get(3)?]);
    let is_loopback = number(link, 8)? & libc::IFF_LOOPBACK.cast_unsigned() != 0;
    if is_loopback {
        return None;
    }
    let name = attribute(link.get(IFINFOMSG..)?, libc::IFLA_IFNAME)?;
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    Some(Interface {
        index: number(link, 4)?,
        name: String::from_utf8(name.to_owned()).ok()?,
        link: match kind {
            libc::ARPHRD_ETHER => Link::Ethernet,
            _ => Link::Ip,
        },
    })
}
