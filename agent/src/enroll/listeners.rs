//! ztunnel's listeners in a pod, found from user space: the kernel notes those that begin to listen while the pod is
//! tracked; those that listened before Weir came have to be handed to it.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use weir_common::given_ports;
use weir_common::listener::{ListenerKey, PortKey, SLOTS};
use weir_common::mark;
use weir_common::names::map;
use weir_common::pod::PodEntry;
use weir_common::ports;

use super::borrowed::{self, Owners};
use super::routing::LOOPBACK_INDEX;
use super::socket_table::{self, Socket, States};
use super::{EnrollError, entries};
use crate::datapath::{Maps, maps};

/// The ports whose listeners the kernel side hands connections to.
const PORTS: [u16; 2] = [ports::OUTBOUND, ports::INBOUND];

/// What [`repair`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// All listeners were as they should be.
    Nothing,
    /// One or the other was not.
    Some,
}

/// Notes the ports, of those that ztunnel's connections are given, that something listens on: the kernel side notes only
/// what begins to listen while the pod is tracked.
fn note_ports(maps: &Maps, listening: &[Socket]) -> Result<(), EnrollError> {
    let ports = listening.iter().map(|socket| socket.local.port());
    let mut given = ports.filter(|port| given_ports::contain(*port)).peekable();
    if given.peek().is_none() {
        return Ok(());
    }
    let mut listened = maps.listened()?;
    for port in given {
        listened
            .set(port.into(), 1, 0)
            .map_err(maps::wrap(map::LISTENED))?;
    }
    Ok(())
}

/// How many listeners the kernel side knows for the pod, by port.
///
/// # Errors
/// [`EnrollError::Datapath`].
pub fn registered(maps: &Maps, netns: u64) -> Result<BTreeMap<u16, usize>, EnrollError> {
    let mut found = BTreeMap::new();
    for listened in PORTS {
        let port = u32::from(listened);
        let slots: Vec<ListenerKey> = (0..SLOTS).map(|slot| ListenerKey { netns, port, slot }).collect();
        let count = maps.listeners_among(&slots)?;
        if count > 0 {
            found.insert(listened, count);
        }
    }
    Ok(found)
}

/// Whether the kernel side knows a listener for each port.
///
/// # Errors
/// [`EnrollError::Datapath`].
pub fn are_known(maps: &Maps, netns: u64) -> Result<bool, EnrollError> {
    Ok(registered(maps, netns)?.len() == PORTS.len())
}

/// Whether the kernel side has noted a listener for each port.
///
/// # Errors
/// [`EnrollError::Datapath`].
pub fn were_noted(maps: &Maps, netns: u64) -> Result<bool, EnrollError> {
    for port in PORTS {
        if !maps.has_noted_listener(netns, port)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes sure that ztunnel's listeners take captured connections, and that the kernel side knows them, and which ports
/// are the application's: it notes those that begin to listen by itself, and looking for the others means to walk over
/// ztunnel's descriptors. `processes` are ztunnel's, which may be looked at.
///
/// # Errors
/// [`EnrollError`] if the namespace or a map cannot be read, or a listener not be made to take captured connections; a
/// process that is gone is passed over.
pub fn repair(
    maps: &Maps,
    netns: BorrowedFd<'_>,
    cookie: u64,
    processes: &[u32],
) -> Result<Repaired, EnrollError> {
    let mut listening = socket_table::read(netns, States::LISTENING)?;
    note_ports(maps, &listening)?;
    listening.retain(|socket| PORTS.contains(&socket.local.port()) && is_ztunnels(socket));
    let registered = registered(maps, cookie)?;
    let known = |port: u16| registered.get(&port).copied().unwrap_or(0);
    let unknown = |port: u16| {
        let there = listening.iter().filter(|socket| socket.local.port() == port);
        known(port) < there.count().min(processes.len()).min(SLOTS as usize)
    };
    let opaque = listening.iter().any(|socket| !socket.transparent);
    let by_loopback = !maps
        .pod(cookie)?
        .is_some_and(|pod| pod.entry.has(PodEntry::VIRTUAL));
    let misled = |socket: &&Socket| {
        socket.local.port() == ports::OUTBOUND && (socket.interface == LOOPBACK_INDEX) != by_loopback
    };
    if !opaque && !listening.iter().any(|socket| misled(&socket)) && !PORTS.into_iter().any(unknown) {
        return Ok(Repaired::Nothing);
    }
    let owners = Owners::of(processes, &listening);
    for socket in listening.iter().filter(|socket| !socket.transparent) {
        make_transparent(&owners, socket)?;
    }
    for socket in listening.iter().filter(misled) {
        speak_by_loopback(&owners, socket, by_loopback)?;
    }
    for port in PORTS.into_iter().filter(|port| unknown(*port)) {
        let on_port = listening.iter().filter(|socket| socket.local.port() == port);
        let inodes = owners.by_age(on_port.map(|socket| socket.inode));
        let recent = &inodes[inodes.len().saturating_sub(SLOTS as usize)..];
        let found: Vec<OwnedFd> = recent
            .iter()
            .filter_map(|inode| owners.borrow(*inode)?.ok())
            .collect();
        if found.len() > known(port) {
            register(maps, cookie, port, &found)?;
        }
    }
    Ok(Repaired::Some)
}

/// By its mark, or by ours, which has taken its place. What else listens there is no business of ours, as nothing is ever
/// handed to it, and looking for who has it would lead nowhere each time.
fn is_ztunnels(listener: &Socket) -> bool {
    matches!(mark::ours(listener.mark), mark::ZTUNNEL | mark::OUTBOUND)
}

/// ztunnel sets `IP_TRANSPARENT` itself unless it was told not to show applications their clients' addresses
/// (`ENABLE_ORIG_SRC=false`). Without it the kernel does not answer a captured connection to a foreign IPv4 address,
/// as that is the address it would have to answer from.
fn make_transparent(owners: &Owners, listener: &Socket) -> Result<(), EnrollError> {
    // Not of a ztunnel that we know, though it has the mark.
    let Some(copy) = owners.borrow(listener.inode) else {
        return Ok(());
    };
    copy.and_then(|copy| borrowed::make_transparent(&copy))
        .map_err(|source| EnrollError::Opaque {
            port: listener.local.port(),
            source,
        })
}

/// As the kernel side does with listeners that begin while the pod is tracked. One that may not be looked at stays as it
/// is: only virtual machines need it otherwise.
fn speak_by_loopback(owners: &Owners, listener: &Socket, alone: bool) -> Result<(), EnrollError> {
    let changed = match owners.borrow(listener.inode) {
        Some(copy) => copy.and_then(|copy| borrowed::speak_by_loopback(&copy, alone)),
        None => Ok(()),
    };
    match changed {
        Err(source) if !alone => Err(EnrollError::Bound(source)),
        _ => Ok(()),
    }
}

/// Notes these listeners, the newest last, in the place of those that were noted, which are among them. It begins with
/// the newest: connections that come meanwhile go to that one, and not to one that is about to end.
fn register(maps: &Maps, netns: u64, port: u16, sockets: &[OwnedFd]) -> Result<(), EnrollError> {
    let (mut listeners, mut newest) = (maps.listeners()?, maps.newest()?);
    let port = u32::from(port);
    let key = PortKey {
        netns,
        port,
        reserved: 0,
    };
    let slots: Vec<u32> = (0..SLOTS).take(sockets.len()).collect();
    for (age, (socket, &slot)) in sockets.iter().zip(&slots).rev().enumerate() {
        borrowed::allow_address_reuse(socket).map_err(EnrollError::Listener)?;
        listeners
            .insert(ListenerKey { netns, port, slot }, socket.as_raw_fd(), 0)
            .map_err(maps::wrap(map::LISTENERS))?;
        if age == 0 {
            newest.insert(key, slot, 0).map_err(maps::wrap(map::NEWEST))?;
        }
    }
    for slot in (0..SLOTS).skip(slots.len()) {
        let key = ListenerKey { netns, port, slot };
        entries::removed(listeners.remove(&key), map::LISTENERS)?;
    }
    Ok(())
}

/// Forgets the pod's listeners.
///
/// # Errors
/// [`EnrollError::Datapath`].
pub fn forget(maps: &Maps, netns: u64) -> Result<(), EnrollError> {
    let (mut listeners, mut newest) = (maps.listeners()?, maps.newest()?);
    for port in PORTS.map(u32::from) {
        for slot in 0..SLOTS {
            let key = ListenerKey { netns, port, slot };
            entries::removed(listeners.remove(&key), map::LISTENERS)?;
        }
        let key = PortKey {
            netns,
            port,
            reserved: 0,
        };
        entries::remove(&mut newest, &key, map::NEWEST)?;
    }
    Ok(())
}
