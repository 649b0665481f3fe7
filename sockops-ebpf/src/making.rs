//! A connection that is just being made, from the program that runs first to the one that runs last: both run in one go
//! on one CPU, so there is a place per CPU, which costs less than a note on the socket.

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_jiffies64};
use weir_common::address::Address;
use weir_common::flow::Making;
use weir_ebpf_shared::maps::MAKING;

/// A minute at least, however long a tick is: a place that is taken so long has been forgotten.
const FORGOTTEN: u64 = 60_000;

/// Notes the destination. Says no where the place is taken: some kernels take the CPU away from a thread in between.
#[inline(always)]
#[must_use]
pub fn begin(netns: u64, address: Address, port: u16) -> bool {
    let Some(place) = MAKING.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: the helpers take nothing and always succeed; the place is a live map value of this CPU.
    unsafe {
        let (thread, since) = (bpf_get_current_pid_tgid(), bpf_jiffies64());
        let holder = (*place).thread;
        if holder != 0 && holder != thread && since.wrapping_sub((*place).since) < FORGOTTEN {
            return false;
        }
        *place = Making {
            thread,
            since,
            netns,
            address,
            port: u32::from(port),
            reserved: 0,
        };
    }
    true
}

/// The destination that this thread has noted, once.
#[inline(always)]
#[must_use]
pub fn end(netns: u64) -> Option<(Address, u16)> {
    let place = MAKING.get_ptr_mut(0)?;
    // SAFETY: as above.
    unsafe {
        if (*place).thread != bpf_get_current_pid_tgid() || (*place).netns != netns {
            return None;
        }
        (*place).thread = 0;
        #[expect(clippy::cast_possible_truncation, reason = "it was a port when it was noted")]
        Some(((*place).address, (*place).port as u16))
    }
}
