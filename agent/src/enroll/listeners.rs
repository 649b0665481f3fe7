//! ztunnel's listeners in a pod, found from user space: the kernel notes those that begin to listen while the pod is
//! tracked; those that listened before Weir came have to be handed to it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use aya::maps::MapError;
use weir_common::listener::{ListenerKey, PortKey, SLOTS};
use weir_common::names::map;
use weir_common::ports;

use super::EnrollError;
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

/// How many listeners the kernel side knows for the pod and port.
///
/// # Errors
/// [`EnrollError::Datapath`].
pub fn registered(maps: &Maps, netns: u64, port: u16) -> Result<usize, EnrollError> {
    let listeners = maps.listeners()?;
    Ok(listeners
        .keys()
        .filter_map(Result::ok)
        .filter(|key| key.netns == netns && key.port == u32::from(port))
        .count())
}

/// Whether the kernel side knows a listener for each port.
///
/// # Errors
/// [`EnrollError::Datapath`].
pub fn are_known(maps: &Maps, netns: u64) -> Result<bool, EnrollError> {
    for port in PORTS {
        if registered(maps, netns, port)? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Hands every listener that the kernel side does not know to it. `processes` are ztunnel's, whose descriptors may be
/// looked at. Says how many listeners are known now, by port.
///
/// # Errors
/// [`EnrollError`] if the namespace or a map cannot be read; a process that is gone is passed over.
pub fn repair(maps: &Maps, netns: BorrowedFd<'_>, cookie: u64, processes: &[u32]) -> Result<(), EnrollError> {
    let listening = listening(netns)?;
    for port in PORTS {
        let inodes = listening.get(&port).map_or(&[][..], Vec::as_slice);
        if registered(maps, cookie, port)? < inodes.len() {
            register(maps, cookie, port, inodes, processes)?;
        }
    }
    Ok(())
}

fn register(
    maps: &Maps,
    netns: u64,
    port: u16,
    inodes: &[u64],
    processes: &[u32],
) -> Result<(), EnrollError> {
    let mut listeners = maps.listeners()?;
    let port = u32::from(port);
    let mut newest = None;
    let recent = inodes.len().saturating_sub(SLOTS as usize);
    for (slot, &inode) in (0..SLOTS).zip(&inodes[recent..]) {
        let Some(socket) = processes
            .iter()
            .find_map(|&process| socket_of(process, inode).ok().flatten())
        else {
            continue;
        };
        match listeners.insert(ListenerKey { netns, port, slot }, socket.as_raw_fd(), 0) {
            Ok(()) => newest = Some(slot),
            Err(source) => return Err(maps::wrap(map::LISTENERS)(source).into()),
        }
    }
    if let Some(slot) = newest {
        let key = PortKey {
            netns,
            port,
            reserved: 0,
        };
        maps.newest()?
            .insert(key, slot, 0)
            .map_err(maps::wrap(map::NEWEST))?;
    }
    Ok(())
}

/// Forgets the pod's listeners.
///
/// # Errors
/// [`EnrollError::Datapath`].
pub fn forget(maps: &Maps, netns: u64) -> Result<(), EnrollError> {
    let mut listeners = maps.listeners()?;
    let keys: Vec<ListenerKey> = listeners
        .keys()
        .filter_map(Result::ok)
        .filter(|key| key.netns == netns)
        .collect();
    for key in keys {
        tolerate_missing(listeners.remove(&key), map::LISTENERS)?;
    }
    let mut newest = maps.newest()?;
    for port in PORTS {
        tolerate_missing(
            newest.remove(&PortKey {
                netns,
                port: u32::from(port),
                reserved: 0,
            }),
            map::NEWEST,
        )?;
    }
    Ok(())
}

fn tolerate_missing(result: Result<(), MapError>, map: &'static str) -> Result<(), EnrollError> {
    match result {
        Err(MapError::KeyNotFound) | Ok(()) => Ok(()),
        // A listener that was closed has left the map by itself.
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(maps::wrap(map)(source).into()),
    }
}

/// A copy of the process's descriptor for the socket with this inode.
fn socket_of(process: u32, inode: u64) -> io::Result<Option<OwnedFd>> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        let entry = entry?;
        // Descriptors come and go while they are listed.
        if fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()) {
            let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let pidfd = sys::pidfd_open(process).map_err(|error| error.source)?;
            return sys::pidfd_getfd(pidfd.as_fd(), fd)
                .map(Some)
                .map_err(|error| error.source);
        }
    }
    Ok(None)
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
