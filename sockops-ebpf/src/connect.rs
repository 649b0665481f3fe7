//! `connect()` of a TCP socket.

use aya_ebpf::macros::{cgroup_sock_addr, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::SockAddrContext;

#[map(name = "weir_connects")]
static CONNECTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[cgroup_sock_addr(connect4)]
pub fn weir_connect4(_: SockAddrContext) -> i32 {
    if let Some(count) = CONNECTS.get_ptr_mut(0) {
        // SAFETY: the slot belongs to this CPU, and a cgroup program is not preempted by itself.
        unsafe { *count += 1 };
    }
    1
}
