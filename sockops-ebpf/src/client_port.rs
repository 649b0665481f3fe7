//! The ports of a client as a pod sees them: its own, and those under which ztunnel speaks to the application for it.
//! If two connections to one port of the pod had the same, the kernel would give the packets of one to the other.

use core::arch::asm;

use aya_ebpf::helpers::generated::bpf_jiffies64;
use weir_common::address::Address;
use weir_common::claim::{Claim, ClientPort, Row};
use weir_ebpf_shared::maps::{ASKERS, CLAIMS, CURSORS};

/// A minute at least, however long a tick is: whoever was given a port and has not used it by then never will.
const FORGOTTEN: u32 = 60_000;

/// A client of a pod.
#[derive(Clone, Copy)]
pub struct Client {
    netns: u64,
    address: Address,
    row: Row,
}

impl Client {
    /// The pod's client at this address.
    #[inline(always)]
    #[must_use]
    pub const fn of(netns: u64, address: Address) -> Self {
        Self {
            netns,
            address,
            row: Row::of(netns, address),
        }
    }

    /// Where the search for a free port goes on.
    #[inline(always)]
    #[must_use]
    pub fn cursor(&self) -> Option<*mut u32> {
        CURSORS.get_ptr_mut(self.row.cursor())
    }

    /// One of its ports.
    #[inline(always)]
    #[must_use]
    pub fn port(&self, port: u16) -> Option<Seat> {
        CLAIMS.get_ptr_mut(self.row.seat(port)).map(Seat)
    }

    /// The client is about to connect from the port, by way of `interface`.
    #[inline(always)]
    pub fn asks(&self, port: u16, interface: u32) {
        // The map makes room by itself.
        ASKERS.insert(self.key(port), interface, 0).ok();
    }

    /// By which interface it asked for a connection from the port.
    #[inline(always)]
    #[must_use]
    pub fn asked_by(&self, port: u16) -> Option<u32> {
        // SAFETY: a live map value of four aligned bytes.
        ASKERS
            .get_ptr(self.key(port))
            .map(|interface| unsafe { *interface })
    }

    #[inline(always)]
    const fn key(&self, port: u16) -> ClientPort {
        ClientPort {
            netns: self.netns,
            address: self.address,
            port: port as u32,
            reserved: 0,
        }
    }
}

/// A port's seat in the table of claims.
pub struct Seat(*mut Claim);

impl Seat {
    /// Takes the port for ztunnel, if nobody uses it.
    #[inline(always)]
    #[must_use]
    pub fn give(&self) -> bool {
        let now = ticks();
        if self.users() == 0 {
            if self.enter() == 1 {
                self.set_given(now);
                return true;
            }
            self.leave();
        } else if self.users() == 1 && self.is_forgotten(now) {
            self.set_given(now);
            return true;
        }
        false
    }

    /// It was not to be had after all.
    #[inline(always)]
    pub fn give_back(&self) {
        self.set_given(0);
        self.leave();
    }

    /// ztunnel connects from the port: the `bind` hook has given it, unless the kernel has chosen it.
    #[inline(always)]
    pub fn connects(&self) {
        if self.given() == 0 {
            self.enter();
        } else {
            self.set_given(0);
        }
    }

    /// The client itself uses the port. Says whether somebody does so already.
    #[inline(always)]
    #[must_use]
    pub fn share(&self) -> bool {
        self.enter() > 1
    }

    /// One user of the port is gone.
    #[inline(always)]
    pub fn release(&self) {
        // Programs that were away for a while may have missed who came.
        if self.users() > 0 {
            self.leave();
        }
    }

    #[inline(always)]
    fn is_forgotten(&self, now: u32) -> bool {
        let given = self.given();
        given != 0 && now.wrapping_sub(given) > FORGOTTEN
    }

    /// One more user; of two that come at once the later one at least sees both.
    #[inline(always)]
    fn enter(&self) -> u32 {
        self.add(1);
        self.users()
    }

    #[inline(always)]
    fn leave(&self) {
        self.add(-1);
    }

    /// The oldest atomic instruction that the kernel knows, which does not tell what was there; Rust's atomics for this
    /// target have no other than loads and stores.
    #[inline(always)]
    fn add(&self, users: i64) {
        // SAFETY: a live map value, which begins with the count.
        unsafe {
            asm!("lock *(u32 *)({seat} + 0) += {users}", seat = in(reg) self.0, users = in(reg) users);
        }
    }

    #[inline(always)]
    fn users(&self) -> u32 {
        // SAFETY: a live map value; volatile, because others write it.
        unsafe { (&raw const (*self.0).users).read_volatile() }
    }

    #[inline(always)]
    fn given(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (&raw const (*self.0).given).read_volatile() }
    }

    #[inline(always)]
    fn set_given(&self, ticks: u32) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.0).given).write_volatile(ticks) };
    }
}

/// The kernel's ticks, never 0.
#[inline(always)]
fn ticks() -> u32 {
    // SAFETY: the helper takes nothing and always succeeds.
    let ticks = unsafe { bpf_jiffies64() };
    #[expect(clippy::cast_possible_truncation, reason = "differences are all that counts")]
    let ticks = ticks as u32;
    ticks | 1
}
