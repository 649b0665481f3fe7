//! Telling ztunnel's sockets in a pod from the pod's own.

use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use weir_common::mark;
use weir_common::node::NodeSettings;
use weir_ebpf_shared::maps::{ZTUNNELS, node};
use weir_sockops_ebpf::call::Call;

/// Whether the call is made by ztunnel. Its mark is not proof enough: a container with NET_ADMIN can set it too.
#[inline(always)]
pub fn calls(call: &Call) -> bool {
    mark::ours(socket_mark(call)) == mark::ZTUNNEL && is_trusted()
}

/// The mark on the call's socket.
#[inline(always)]
pub fn socket_mark(call: &Call) -> u32 {
    // SAFETY: the kernel guarantees a socket in these hooks.
    unsafe { (*call.socket()).mark }
}

#[inline(always)]
fn is_trusted() -> bool {
    // SAFETY: the helper takes nothing and always succeeds.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    ZTUNNELS.get_ptr(cgroup).is_some() || node().has(NodeSettings::TRUST_MARK_ALONE)
}
