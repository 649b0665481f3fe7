//! Claims on client ports: those under which ztunnel speaks to applications for their clients, and those that clients
//! take of the same ranges themselves.
//!
//! A claim is a seat in a table that is wide enough for clients to have rows of their own. Two that share a seat keep
//! each other from it, so a port may be passed over without need; it is never claimed twice.

use crate::address::Address;
use crate::shared;

/// Seats for claims: for twice as many connections as a large node has open in clear.
pub const SEATS: u32 = 1 << 19;

/// Places that say whose turn it is; clients may share one.
pub const CURSORS: u32 = 1 << 16;

/// Who uses a client's port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// How many connections: one from ztunnel to the application, or the client's own to several ports of the pod.
    pub users: u32,
    /// When ztunnel's connection was given the port, in the kernel's ticks; 0 once it has begun to connect.
    pub given: u32,
}
shared!(Claim);

/// A client's address and port as a pod sees them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientPort {
    /// The pod's netns cookie.
    pub netns: u64,
    /// The client.
    pub address: Address,
    /// Its port, in host byte order.
    pub port: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}
shared!(ClientPort);

/// Where a pod's client begins in the tables of seats and cursors.
#[derive(Clone, Copy)]
pub struct Row(u32);

impl Row {
    /// The row of a client.
    #[must_use]
    #[inline(always)]
    pub const fn of(netns: u64, address: Address) -> Self {
        /// 2^64 divided by the golden ratio: neighbours end far apart.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let [first, second, third, last] = address.words;
        let mut mixed = netns.wrapping_mul(SPREAD);
        mixed = (mixed ^ mixed >> 32 ^ pair(first, second)).wrapping_mul(SPREAD);
        mixed = (mixed ^ mixed >> 32 ^ pair(third, last)).wrapping_mul(SPREAD);
        Self((mixed >> 32) as u32)
    }

    /// The seat of one of its ports. Ports that are given one after the other lie side by side.
    #[must_use]
    #[inline(always)]
    pub const fn seat(self, port: u16) -> u32 {
        self.0.wrapping_add(port as u32) % SEATS
    }

    /// Its cursor.
    #[must_use]
    #[inline(always)]
    pub const fn cursor(self) -> u32 {
        self.0 % CURSORS
    }
}

#[inline(always)]
const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use super::{Row, SEATS};
    use crate::address::Address;
    use crate::given_ports::ABOVE;

    /// Addresses as clusters give them out: one after the other.
    fn rows() -> impl Iterator<Item = Row> {
        let v4 = (0..500_u32).map(|at| Address::from_v4((0x0a00_0001 + at).to_be()));
        let v6 = (0..500_u32).map(|at| Address {
            words: [0xfd00_u32.to_be(), 0, 0, at.to_be()],
        });
        v4.chain(v6)
            .flat_map(|address| (5000..5003).map(move |netns| Row::of(netns, address)))
    }

    #[test]
    fn clients_have_seats_and_cursors_of_their_own() {
        let ports = || (0..16).map(|turn| ABOVE.port(turn));
        let seats = rows().flat_map(|row| ports().map(move |port| row.seat(port)));
        let taken: Vec<_> = seats.collect();
        let apart: BTreeSet<_> = taken.iter().collect();
        assert!(taken.iter().all(|seat| *seat < SEATS));
        // Thrown at random, one in twenty would meet another.
        assert!(
            apart.len() * 100 > taken.len() * 90,
            "{} of {}",
            apart.len(),
            taken.len()
        );
        let cursors: BTreeSet<_> = rows().map(Row::cursor).collect();
        assert!(cursors.len() * 100 > rows().count() * 90, "{}", cursors.len());
    }

    #[test]
    fn ports_of_one_client_never_share_a_seat() {
        let row = Row::of(7, Address::LOOPBACK_V4);
        let seats: BTreeSet<_> = (0..=u16::MAX).map(|port| row.seat(port)).collect();
        assert_eq!(seats.len(), 1 << 16);
    }
}
