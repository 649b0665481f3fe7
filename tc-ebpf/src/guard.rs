//! Watches the frames that leave a pod.

use aya_ebpf::bindings::TC_ACT_OK;
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::TcContext;

#[map(name = "weir_frames")]
static FRAMES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[classifier]
pub fn weir_guard(_: TcContext) -> i32 {
    if let Some(count) = FRAMES.get_ptr_mut(0) {
        // SAFETY: the slot belongs to this CPU, and softirq does not preempt itself.
        unsafe { *count += 1 };
    }
    TC_ACT_OK
}
