//! ztunnel's listeners in a pod, found from user space: the kernel notes those that begin to listen while the pod is
//! tracked; those that listened before Weir came have to be handed to it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use weir_common::listener::{ListenerKey, PortKey, SLOTS};
use weir_common::names::map;
use weir_common::ports;

use super::{EnrollError, entries};
use crate::datapath::{Maps, maps, sys};
use crate::inside;

/// The ports whose listeners the kernel side hands connections to.
const PORTS: [u16; 2] = [ports::OUTBOUND, ports::INBOUND];
const LISTEN: &str = "0A";

/// Inodes of the sockets that listen on ztunnel's ports, by port, oldest first.
pub type Listening = BTreeMap<u16, Vec<u64>>;

/// Looks for listeners in the pod's netns.
///
/// # Errors
/// [`EnrollError::Netns`] if it cannot be entered.
pub fn listening(netns: BorrowedFd<'_>) -> Result<Listening, EnrollError> {
    Ok(inside::run(netns, || {
        let mut found = Listening::new();
        for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
            // A kernel without IPv6 has no second table.
            let lines = fs::read_to_string(table).unwrap_or_default();
            for (port, inode) in lines.lines().filter_map(parse_listener) {
                found.entry(port).or_default().push(inode);
            }
        }
        found.values_mut().for_each(|inodes| inodes.sort_unstable());
        found
    })?)
}

/// How many listeners the kernel side knows for the pod, by port.
///
/// # Errors
/// [`EnrollError::Datapath`].
pub fn registered(maps: &Maps, netns: u64) -> Result<BTreeMap<u16, usize>, EnrollError> {
    let listeners = maps.listeners()?;
    let mut found = BTreeMap::new();
    for key in listeners.keys().filter_map(Result::ok) {
        if let Some(port) = PORTS
            .into_iter()
            .find(|port| key.netns == netns && key.port == u32::from(*port))
        {
            *found.entry(port).or_default() += 1;
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

/// Hands listeners to the kernel side if it knows fewer than there are ztunnels: it notes those that begin to listen by
/// itself, and looking for the others means to walk over all sockets of the node. `processes` are ztunnel's, whose
/// descriptors may be looked at.
///
/// # Errors
/// [`EnrollError`] if the namespace or a map cannot be read; a process that is gone is passed over.
pub fn repair(maps: &Maps, netns: BorrowedFd<'_>, cookie: u64, processes: &[u32]) -> Result<(), EnrollError> {
    let registered = registered(maps, cookie)?;
    let known = |port: u16| registered.get(&port).copied().unwrap_or(0);
    if PORTS
        .iter()
        .all(|port| known(*port) >= processes.len().min(SLOTS as usize))
    {
        return Ok(());
    }
    for (port, inodes) in listening(netns)? {
        let recent = &inodes[inodes.len().saturating_sub(SLOTS as usize)..];
        let found = sockets(processes, recent);
        if found.len() > known(port) {
            register(maps, cookie, port, &found)?;
        }
    }
    Ok(())
}

/// Notes these listeners, the newest last, in the place of those that were noted, which are among them.
fn register(maps: &Maps, netns: u64, port: u16, sockets: &[OwnedFd]) -> Result<(), EnrollError> {
    let (mut listeners, mut newest) = (maps.listeners()?, maps.newest()?);
    let port = u32::from(port);
    let mut slots = 0..SLOTS;
    for (socket, slot) in sockets.iter().zip(slots.by_ref()) {
        listeners
            .insert(ListenerKey { netns, port, slot }, socket.as_raw_fd(), 0)
            .map_err(maps::wrap(map::LISTENERS))?;
        let key = PortKey {
            netns,
            port,
            reserved: 0,
        };
        newest.insert(key, slot, 0).map_err(maps::wrap(map::NEWEST))?;
    }
    for slot in slots {
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

/// Copies of the processes' descriptors for the sockets with these inodes, in their order. Processes that are gone and
/// sockets that were closed meanwhile are passed over.
fn sockets(processes: &[u32], inodes: &[u64]) -> Vec<OwnedFd> {
    let mut found = BTreeMap::new();
    for &process in processes {
        for (inode, descriptor) in descriptors(process).unwrap_or_default() {
            let Some(place) = inodes.iter().position(|wanted| *wanted == inode) else {
                continue;
            };
            let copy = sys::pidfd_open(process).and_then(|pidfd| sys::pidfd_getfd(pidfd.as_fd(), descriptor));
            if let Ok(copy) = copy {
                found.insert(place, copy);
            }
        }
    }
    found.into_values().collect()
}

/// The sockets of a process: inode and descriptor.
fn descriptors(process: u32) -> io::Result<Vec<(u64, RawFd)>> {
    let entries = fs::read_dir(format!("/proc/{process}/fd"))?.filter_map(Result::ok);
    Ok(entries
        // Descriptors come and go while they are listed.
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            let descriptor = entry.file_name().to_str()?.parse().ok()?;
            Some((inode.parse().ok()?, descriptor))
        })
        .collect())
}

/// Port and inode of a line of /proc/net/tcp, if it is a listener on one of ztunnel's ports.
fn parse_listener(line: &str) -> Option<(u16, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
    (state == LISTEN && PORTS.contains(&port)).then_some((port, inode))
}

#[cfg(test)]
mod tests {
    use super::parse_listener;

    #[test]
    fn listeners_are_read_from_the_kernels_table() {
        let line = "   0: 00000000000000000000000000000000:3A99 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 39842 1 0000000000000000 100 0 0 10 0";
        assert_eq!(parse_listener(line), Some((15001, 39842)));
        assert_eq!(parse_listener(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(parse_listener(&line.replace(":3A99", ":1F90")), None);
        assert_eq!(
            parse_listener("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when"),
            None
        );
        assert_eq!(parse_listener(""), None);
    }
}
