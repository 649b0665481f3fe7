//! A pod that the kernel side knows, as the node's programs ask for it. Those that each pod gets anew do without: with
//! all that can come of comparing addresses the verifier would take a third longer for each.

use weir_common::address::Address;
use weir_common::pod::{PodEntry, PodRecord, Shown};

use crate::maps::{self, PODS};

/// The pod.
#[derive(Clone, Copy)]
pub struct Pod {
    /// Its netns cookie.
    pub netns: u64,
    /// What is to be done with its connections.
    pub entry: PodEntry,
    shown: &'static Shown,
}

impl Pod {
    /// The pod with this netns cookie, if it is known.
    #[inline(always)]
    pub fn of(netns: u64) -> Option<Self> {
        // SAFETY: a live map value. The agent puts another into its place as a whole; until this one is used again, for
        // the pod that the agent writes to after the next, a program has long come to its end.
        let record: &PodRecord = unsafe { &*PODS.get_ptr(netns)? };
        Some(Self {
            netns,
            entry: record.entry,
            shown: &record.shown,
        })
    }

    /// Whether `flag` of its entry, or one of several, is set.
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.entry.has(flag)
    }

    /// Whether the address is the pod's.
    #[inline(always)]
    pub fn is_own(&self, address: Address) -> bool {
        match self.shown.tells(address) {
            Some(is_own) => is_own,
            None => maps::is_own(self.netns, address),
        }
    }
}
