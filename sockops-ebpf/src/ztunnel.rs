//! Telling ztunnel's sockets in a pod from the pod's own.

use core::ptr::addr_of;

use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use weir_common::address::Address;
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

/// The address that the call's socket is bound to; the unspecified one if it is not bound. Both families are read in any
/// case: compilers would merge reads in two branches into one at a computed offset, which the verifier does not allow.
#[inline(always)]
pub fn source(call: &Call) -> Address {
    let socket = call.socket();
    // SAFETY: as above; volatile, because the kernel allows only reads of whole words.
    let (v4, words) = unsafe {
        let words = addr_of!((*socket).src_ip6).cast::<u32>();
        let word = |at: usize| words.add(at).read_volatile();
        (
            addr_of!((*socket).src_ip4).read_volatile(),
            [word(0), word(1), word(2), word(3)],
        )
    };
    if call.address().as_v4().is_some() {
        Address::from_v4(v4)
    } else {
        Address { words }
    }
}

#[inline(always)]
fn is_trusted() -> bool {
    // SAFETY: the helper takes nothing and always succeeds.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    let node = node();
    cgroup == node.ztunnel || ZTUNNELS.get_ptr(cgroup).is_some() || node.has(NodeSettings::TRUST_MARK_ALONE)
}
