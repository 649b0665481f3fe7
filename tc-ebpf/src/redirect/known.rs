//! Connections that a ztunnel was lately seen to have: at its own interface most packets are let through without a search
//! for their socket. All CPUs share a word for each, as it is read and written whole.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use weir_common::address::Address;
use weir_common::flow::Ends;

const PLACES: usize = 4096;

#[btf_map(name = "weir_known")]
static KNOWN: Array<u64, PLACES> = Array::new();

/// A connection in an era, told by a word. One that has the word of another, of 2^63 that there are, is not offered to a
/// listener: if it has no socket, the kernel refuses it.
#[derive(Clone, Copy)]
pub struct Known {
    place: u32,
    word: u64,
}

impl Known {
    /// The connection between these ends.
    #[inline(always)]
    pub const fn new(ends: &Ends, era: u64) -> Self {
        let ports = (ends.peer_port as u64) << 16 | ends.pod_port as u64;
        let connection = address(address(ports, &ends.peer), &ends.pod);
        Self {
            place: connection as u32 & (PLACES as u32 - 1),
            // Zero stands where there is none.
            word: mixed(connection, era) | 1,
        }
    }

    /// Whether the connection is noted.
    #[inline(always)]
    pub fn is_noted(self) -> bool {
        // SAFETY: a live map value of eight aligned bytes; volatile, so that it is read here and whole.
        KNOWN
            .get_ptr(self.place)
            .is_some_and(|word| unsafe { word.read_volatile() } == self.word)
    }

    /// Notes the connection.
    #[inline(always)]
    pub fn note(self) {
        put(self.place, self.word);
    }

    /// Another may begin between the same ends: whatever is noted in this place is noted no more.
    #[inline(always)]
    pub fn forget(self) {
        put(self.place, 0);
    }
}

#[inline(always)]
fn put(place: u32, word: u64) {
    if let Some(kept) = KNOWN.get_ptr_mut(place) {
        // SAFETY: as above.
        unsafe { kept.write_volatile(word) };
    }
}

#[inline(always)]
const fn address(so_far: u64, address: &Address) -> u64 {
    let [a, b, c, d] = address.words;
    let high = (a as u64) << 32 | b as u64;
    let low = (c as u64) << 32 | d as u64;
    mixed(mixed(so_far, high), low)
}

/// Every bit of both, in all bits of the result.
#[inline(always)]
const fn mixed(one: u64, other: u64) -> u64 {
    let product = (one ^ other).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}
