//! The TCP sockets of a network namespace, as the kernel lists them (sock_diag).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use rtnetlink::sys::{Socket as Netlink, SocketAddr as NetlinkAddress};

use super::EnrollError;
use super::requests::{after, attribute};
use crate::inside;

const NETLINK_SOCK_DIAG: isize = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_HEADER: usize = 16;
/// `struct inet_diag_req_v2`, of which all that is not said is zero.
const REQUEST: usize = 56;
/// `struct inet_diag_msg`.
const ANSWER: usize = 72;
const INET_DIAG_MARK: u16 = 15;
const INET_DIAG_SOCKOPT: u16 = 22;
/// The bit of `IP_TRANSPARENT` in the first byte of `struct inet_diag_sockopt`.
const TRANSPARENT: u8 = if cfg!(target_endian = "little") {
    1 << 5
} else {
    1 << 2
};

/// Which sockets are asked for: a set of the kernel's `TCP_…` states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Sockets that listen.
    pub const LISTENING: Self = Self(1 << 10);
    /// Connections that are open, or being opened or closed: without TIME_WAIT, CLOSE and LISTEN.
    pub const CONNECTED: Self = Self(0x1ffe & !(1 << 6 | 1 << 7 | 1 << 10));
}

/// A TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its local address; one that is mapped into IPv6 is IPv4.
    pub local: SocketAddr,
    /// Its other end's.
    pub remote: SocketAddr,
    /// The index of the interface that it is bound to; 0 if it is bound to none.
    pub interface: u32,
    /// Its mark, which the kernel tells those who have `NET_ADMIN`; to others it is 0.
    pub mark: u32,
    /// By which a process's descriptors show it.
    pub inode: u64,
    /// Whether it may have addresses that are not the namespace's (`IP_TRANSPARENT`).
    pub transparent: bool,
}

/// Lists the TCP sockets of a netns that are in one of `states`.
///
/// # Errors
/// [`EnrollError::Netns`], [`EnrollError::SocketTable`].
pub fn read(netns: BorrowedFd<'_>, states: States) -> Result<Vec<Socket>, EnrollError> {
    inside::run(netns, || dump(states))?.map_err(EnrollError::SocketTable)
}

fn dump(states: States) -> io::Result<Vec<Socket>> {
    let mut netlink = Netlink::new(NETLINK_SOCK_DIAG)?;
    netlink.bind_auto()?;
    netlink.connect(&NetlinkAddress::new(0, 0))?;
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        netlink.send(&request(family, states), 0)?;
        while take(&netlink.recv_from_full()?.0, &mut sockets)? == Dump::GoesOn {}
    }
    Ok(sockets)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dump {
    GoesOn,
    Complete,
}

fn request(family: libc::c_int, states: States) -> Vec<u8> {
    let mut request = Vec::with_capacity(NLMSG_HEADER + REQUEST);
    let length = u32::try_from(NLMSG_HEADER + REQUEST).unwrap_or(0);
    request.extend(length.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.extend([0; 8]);
    let byte = |number: libc::c_int| u8::try_from(number).unwrap_or(0);
    request.extend([byte(family), byte(libc::IPPROTO_TCP), 0, 0]);
    request.extend(states.0.to_ne_bytes());
    request.resize(NLMSG_HEADER + REQUEST, 0);
    request
}

/// Takes the sockets out of one datagram of the answer.
fn take(mut datagram: &[u8], sockets: &mut Vec<Socket>) -> io::Result<Dump> {
    while let Some((kind, payload, rest)) = message(datagram) {
        match kind {
            NLMSG_DONE => return Ok(Dump::Complete),
            NLMSG_ERROR => {
                let code = bytes(payload, 0).map_or(libc::EPROTO, |code| -i32::from_ne_bytes(code));
                return Err(io::Error::from_raw_os_error(code));
            }
            _ => sockets.extend(socket(payload)),
        }
        datagram = rest;
    }
    Ok(Dump::GoesOn)
}

/// Type and payload of the first message, and what follows it.
fn message(datagram: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(bytes(datagram, 0)?)).ok()?;
    let kind = u16::from_ne_bytes(bytes(datagram, 4)?);
    let payload = datagram.get(NLMSG_HEADER..length)?;
    Some((kind, payload, after(datagram, length)))
}

fn socket(message: &[u8]) -> Option<Socket> {
    let is_v4 = i32::from(*message.first()?) == libc::AF_INET;
    let end = |port_at: usize, address_at: usize| {
        let address = if is_v4 {
            IpAddr::from(Ipv4Addr::from(bytes::<4>(message, address_at)?))
        } else {
            IpAddr::from(Ipv6Addr::from(bytes::<16>(message, address_at)?)).to_canonical()
        };
        Some(SocketAddr::new(
            address,
            u16::from_be_bytes(bytes(message, port_at)?),
        ))
    };
    let inode = u32::from_ne_bytes(bytes(message, 68)?).into();
    let interface = u32::from_ne_bytes(bytes(message, 40)?);
    let attributes = message.get(ANSWER..)?;
    let mark = attribute(attributes, INET_DIAG_MARK).and_then(|mark| bytes(mark, 0));
    let options = attribute(attributes, INET_DIAG_SOCKOPT);
    Some(Socket {
        local: end(4, 8)?,
        remote: end(6, 24)?,
        interface,
        mark: mark.map_or(0, u32::from_ne_bytes),
        inode,
        transparent: options
            .and_then(<[u8]>::first)
            .is_some_and(|byte| byte & TRANSPARENT != 0),
    })
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests;
