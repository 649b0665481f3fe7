//! What each CPU has lately found out of connections, so that most packets take no look-up in a map of all: that is a call
//! into the kernel, which costs more than all else that a program does for a packet.
//!
//! It is believed only in the era in which it was found out, and until something is decided anew.

use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::btf_map;
use weir_common::address::Address;
use weir_common::flow::{Ends, spread};

use crate::flow;
use crate::maps::UNCHECKED;

const CONNECTIONS: usize = 1024;
// Far fewer than connections on the node: the map of those makes room by forgetting what nobody asks for, and by then a
// turn has come for each of them.
const TURNS: usize = 4096;

#[btf_map(name = "weir_recent")]
static RECENT: PerCpuArray<Recent, CONNECTIONS> = PerCpuArray::new();

// How often something has been decided for connections that share a place here; CPUs are told by it.
#[btf_map(name = "weir_turns")]
static TURN: Array<u32, TURNS> = Array::new();

/// A connection that packets of this CPU belong to.
#[repr(C)]
#[derive(Clone, Copy)]
struct Recent {
    era: u64,
    site: u64,
    ends: Ends,
    turn: u32,
    what: u32,
    ztunnel: u32,
}

/// Where something was found out about a connection: it holds for other interfaces only if it is found out there too.
#[derive(Clone, Copy)]
pub struct Site(pub u64);

impl Site {
    /// An interface of the host.
    #[inline(always)]
    pub const fn host(interface: u32) -> Self {
        Self(interface as u64)
    }

    /// Any interface of the pod with this netns cookie.
    #[inline(always)]
    pub const fn pod(netns: u64) -> Self {
        Self(1 << 63 | netns)
    }
}

/// What is asked about, in an era, at a site: a connection; or all between two addresses, as long as nothing may be
/// remembered of any.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    ends: &'a Ends,
    /// None where it is about all connections.
    ports: u32,
    era: u64,
    site: Site,
    pub of_all: bool,
}

/// What was decided, as far as packets of a connection that has begun need it.
#[derive(Clone, Copy)]
pub struct Answer {
    pub what: u32,
    pub ztunnel: u32,
}

impl<'a> Question<'a> {
    #[inline(always)]
    pub fn new(ends: &'a Ends, era: u64, site: Site) -> Self {
        let of_all = !flow::may_be_remembered(ends);
        Self {
            ends,
            ports: if of_all { 0 } else { ports(ends) },
            era,
            site,
            of_all,
        }
    }

    /// What this CPU has kept, if it still holds.
    #[inline(always)]
    pub fn recall(&self) -> Option<Answer> {
        let recent = RECENT.get_ptr(self.index())?;
        // SAFETY: a live map value of aligned words that belongs to this CPU, whose packets come one by one.
        let recent = unsafe { &*recent };
        let holds = recent.era == self.era
            && recent.site == self.site.0
            && recent.turn == self.turn()
            && ports(&recent.ends) == self.ports
            && is_same_address(&recent.ends.peer, &self.ends.peer)
            && is_same_address(&recent.ends.pod, &self.ends.pod);
        holds.then_some(Answer {
            what: recent.what,
            ztunnel: recent.ztunnel,
        })
    }

    /// How often something has been decided here so far, apart from what holds for all. It has to be read before what was
    /// decided.
    #[inline(always)]
    pub fn turn(&self) -> u32 {
        if self.of_all {
            return 0;
        }
        // SAFETY: a live map value of four aligned bytes; volatile, so that it is read here.
        TURN.get_ptr(turn_of(self.ends))
            .map_or(0, |turn| unsafe { turn.read_volatile() })
    }

    /// Keeps what was found out after this turn was read.
    #[inline(always)]
    pub fn keep(&self, turn: u32, Answer { what, ztunnel }: Answer) {
        if self.era == UNCHECKED {
            return;
        }
        if let Some(recent) = RECENT.get_ptr_mut(self.index()) {
            // SAFETY: as above. Field by field, as the stack is small.
            let recent = unsafe { &mut *recent };
            recent.era = self.era;
            recent.site = self.site.0;
            recent.ends.peer = self.ends.peer;
            recent.ends.pod = self.ends.pod;
            recent.ends.peer_port = (self.ports >> 16) as u16;
            recent.ends.pod_port = self.ports as u16;
            recent.turn = turn;
            recent.what = what;
            recent.ztunnel = ztunnel;
        }
    }

    /// Keeps what has been decided here after this turn was read, unless something else was decided since. CPUs that decide
    /// at the very same time, by a SYN each, may keep what each has decided: the connection has not begun yet.
    #[inline(always)]
    pub fn keep_decided(&self, turn: u32, answer: Answer) {
        self.keep(turn.wrapping_add(1), answer);
    }

    #[inline(always)]
    const fn index(&self) -> u32 {
        (place(self.ends, self.ports) >> 12) & (CONNECTIONS as u32 - 1)
    }
}

/// Something is decided anew for a connection: what CPUs have kept of it is over. It has to be said after it is done.
#[inline(always)]
pub fn forget(ends: &Ends) {
    if let Some(turn) = TURN.get_ptr_mut(turn_of(ends)) {
        // SAFETY: a live map value of four aligned bytes. Of two that count at once one may be lost: both have decided
        // before, and the count is another one all the same.
        unsafe { turn.write_volatile(turn.read_volatile().wrapping_add(1)) };
    }
}

#[inline(always)]
const fn turn_of(ends: &Ends) -> u32 {
    place(ends, ports(ends)) & (TURNS as u32 - 1)
}

#[inline(always)]
const fn place(ends: &Ends, ports: u32) -> u32 {
    spread(ends.addresses() ^ ports)
}

#[inline(always)]
const fn ports(ends: &Ends) -> u32 {
    (ends.peer_port as u32) << 16 | ends.pod_port as u32
}

/// Without a call, which a comparison of arrays may become.
#[inline(always)]
pub const fn is_same_address(one: &Address, other: &Address) -> bool {
    let ([a, b, c, d], [e, f, g, h]) = (one.words, other.words);
    (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
}
