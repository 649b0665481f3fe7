//! What each CPU has lately found out of addresses and interfaces, for the same reason as of connections. It is believed
//! only in the era in which it was found out.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use weir_common::address::Address;
use weir_common::flow::spread;
use weir_common::local_pod::LocalPod;
use weir_common::pod::PodEntry;

use crate::maps::UNCHECKED;
use crate::recent::{Site, is_same_address};

const ADDRESSES: usize = 256;
const INTERFACES: usize = 256;

#[btf_map(name = "weir_near")]
static NEAR: PerCpuArray<Near, ADDRESSES> = PerCpuArray::new();

#[btf_map(name = "weir_behind")]
static BEHIND: PerCpuArray<Behind, INTERFACES> = PerCpuArray::new();

/// An address of packets of this CPU, and whose it is.
#[repr(C)]
#[derive(Clone, Copy)]
struct Near {
    era: u64,
    address: Address,
    is_local: u32,
    reserved: u32,
    local: LocalPod,
}

/// An interface that packets of this CPU pass, and the pod behind it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Behind {
    era: u64,
    site: u64,
    netns: u64,
    pod: PodEntry,
    is_pod: u32,
    reserved: u32,
}

/// Whose the address is, from what this CPU has kept in this era, or else by `look_up`.
#[inline(always)]
pub fn owner(address: Address, era: u64, look_up: impl FnOnce() -> Option<LocalPod>) -> Option<LocalPod> {
    let [_, _, third, last] = address.words;
    let place = spread(last ^ third.rotate_left(16)) & (ADDRESSES as u32 - 1);
    let Some(near) = NEAR.get_ptr_mut(place) else {
        return look_up();
    };
    // SAFETY: a live map value of aligned words that belongs to this CPU, whose packets come one by one.
    let kept = unsafe { &mut *near };
    if kept.era != era || era == UNCHECKED || !is_same_address(&kept.address, &address) {
        let (is_local, local) = match look_up() {
            Some(local) => (1, local),
            None => (0, NOBODY),
        };
        *kept = Near {
            era,
            address,
            is_local,
            reserved: 0,
            local,
        };
    }
    (kept.is_local != 0).then_some(kept.local)
}

/// The pod behind the interface, from what this CPU has kept in this era, or else by `look_up`.
#[inline(always)]
pub fn behind(
    site: Site,
    era: u64,
    look_up: impl FnOnce() -> Option<(u64, PodEntry)>,
) -> Option<(u64, PodEntry)> {
    let place = spread(site.0 as u32) & (INTERFACES as u32 - 1);
    let Some(behind) = BEHIND.get_ptr_mut(place) else {
        return look_up();
    };
    // SAFETY: as above.
    let kept = unsafe { &mut *behind };
    if kept.era != era || era == UNCHECKED || kept.site != site.0 {
        let (is_pod, netns, pod) = match look_up() {
            Some((netns, pod)) => (1, netns, pod),
            None => (0, 0, PodEntry { flags: 0, sysctls: 0 }),
        };
        *kept = Behind {
            era,
            site: site.0,
            netns,
            pod,
            is_pod,
            reserved: 0,
        };
    }
    (kept.is_pod != 0).then_some((kept.netns, kept.pod))
}

const NOBODY: LocalPod = LocalPod {
    netns: 0,
    interface: 0,
    flags: 0,
    mac: [0; 6],
    gateway: [0; 6],
    reserved: 0,
};
