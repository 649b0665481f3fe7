//! What the kernel side knows of an enrolled pod.

use crate::address::Address;
use crate::shared;

/// Stands in the object of a pod's own programs where the pod's netns cookie belongs; no cookie is that large.
pub const COOKIE_PLACEHOLDER: u64 = 0xc00c_1e00_7765_6972;

/// Value of the map of pods, keyed by netns cookie. In every layout the key is that, and the value begins with the
/// entry: an agent of another layout takes pods over by it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodRecord {
    /// What is to be done with the pod's connections.
    pub entry: PodEntry,
    /// Its addresses.
    pub shown: Shown,
}
shared!(PodRecord);

impl From<PodEntry> for PodRecord {
    /// None of the pod's addresses are shown.
    fn from(entry: PodEntry) -> Self {
        Self {
            entry,
            shown: Shown::default(),
        }
    }
}

/// A pod's addresses where a program has them before its eyes: each connection is compared with them several times,
/// and a look into their map takes many times as long.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// 1 if the pod has no others; only then do they count.
    pub complete: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
    /// Places that are left over repeat an address.
    pub addresses: [Address; Self::PLACES],
}
shared!(Shown);

impl Shown {
    /// One for each family, and one more.
    pub const PLACES: usize = 3;

    /// A pod with so few addresses that all can be shown.
    #[must_use]
    pub fn of(addresses: impl IntoIterator<Item = Address>) -> Self {
        let mut places = addresses.into_iter();
        let Some(first) = places.next() else {
            return Self::default();
        };
        let mut shown = Self {
            complete: 1,
            reserved: 0,
            addresses: [first; Self::PLACES],
        };
        for place in &mut shown.addresses[1..] {
            *place = places.next().unwrap_or(first);
        }
        if places.next().is_some() {
            return Self::default();
        }
        shown
    }

    /// Whether the address is the pod's, if that can be told from here.
    #[must_use]
    #[inline(always)]
    pub const fn tells(&self, address: Address) -> Option<bool> {
        let [first, second, third] = &self.addresses;
        if self.complete == 0 {
            return None;
        }
        Some(first.is(address) || second.is(address) || third.is(address))
    }
}

/// What is to be done with a pod's connections. In every layout it begins with these two fields, and a bit that has a
/// meaning keeps it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodEntry {
    /// Combination of the `CAPTURING`… flags.
    pub flags: u32,
    /// Which sysctls of the pod's netns were switched on for it, so that removal can switch back just those.
    pub sysctls: u32,
}
shared!(PodEntry);

impl PodEntry {
    /// How many bytes are the same in every layout.
    pub const HEAD: usize = 8;

    /// Connections are captured; without it only ztunnel's listeners are noted.
    pub const CAPTURING: u32 = 1 << 0;
    /// Inbound connections reach the application uncaptured.
    pub const INBOUND_BYPASS: u32 = 1 << 1;
    /// DNS queries go to ztunnel.
    pub const DNS: u32 = 1 << 2;
    /// The pod has port or range rules for outbound connections.
    pub const OUTBOUND_FILTER: u32 = 1 << 3;
    /// The pod has port rules for inbound connections.
    pub const INBOUND_FILTER: u32 = 1 << 4;
    /// Outbound connections leave uncaptured unless a rule includes them.
    pub const OUTBOUND_BY_INCLUSION: u32 = 1 << 5;
    /// Inbound connections reach the application uncaptured unless a rule includes them.
    pub const INBOUND_BY_INCLUSION: u32 = 1 << 6;

    /// The pod has been taken out of the mesh; what its captured connections need stays until they have ended.
    pub const DRAINING: u32 = 1 << 7;
    /// New connections are captured on their way and not at the pod's sockets (node contract).
    pub const REDIRECTING: u32 = 1 << 8;
    /// ztunnel is outside of the pod (node contract).
    pub const NODE: u32 = 1 << 9;
    /// The pod's own connections are made to ztunnel in the first place (node contract).
    pub const DETOURED: u32 = 1 << 10;
    /// Without TCP timestamps the kernel gives a port of a closed connection a minute's rest: ztunnel gets those last that
    /// it had last.
    pub const PORTS_REST: u32 = 1 << 11;
    /// There is no ztunnel, and the pod's own connections go their own way meanwhile instead of nowhere.
    pub const OPEN: u32 = 1 << 12;
    /// Virtual machines are behind interfaces of the pod.
    pub const VIRTUAL: u32 = 1 << 13;
    /// The pod has come back while it was draining; it is not captured again yet.
    pub const RETURNING: u32 = 1 << 14;
    /// ztunnel's connections to the application are looked after.
    pub const SERVED: u32 = Self::CAPTURING | Self::DRAINING | Self::RETURNING;
    /// A connection of which nothing is remembered is captured (node contract): before that was so, each was remembered.
    pub const IMPLIED: u32 = Self::REDIRECTING | Self::DRAINING;
    /// The pod has rules in the maps of ports or ranges.
    pub const RULES: u32 = Self::OUTBOUND_FILTER | Self::INBOUND_FILTER;

    /// Whether `flag`, or one of several, is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::Shown;
    use crate::address::Address;

    fn pod(addresses: u32) -> Vec<Address> {
        (1..=addresses).map(Address::from_v4).collect()
    }

    #[test]
    fn all_addresses_are_shown_or_none() {
        for count in 1..=3 {
            let addresses = pod(count);
            let shown = Shown::of(addresses.iter().copied());
            assert!(addresses.iter().all(|own| shown.tells(*own) == Some(true)));
            assert_eq!(shown.tells(Address::from_v4(count + 1)), Some(false));
            assert_eq!(
                shown.tells(Address::default()),
                Some(false),
                "a place that is left over"
            );
        }
        for count in [0, 4] {
            assert_eq!(Shown::of(pod(count)).tells(Address::from_v4(1)), None);
        }
    }
}
