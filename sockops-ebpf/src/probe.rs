//! Probes: connections that the node's own processes (kubelet, the runtime) make to enrolled pods.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use weir_common::flow::SocketNote;
use weir_common::node::NodeSettings;
use weir_ebpf_shared::maps::{PODS_BY_ADDRESS, node};
use weir_sockops_ebpf::call::Call;

/// Notes on the socket that it probes a pod, if it does. [`crate::track`] lets it pass once its source is known.
#[inline(always)]
pub fn note(call: &Call, netns: u64) {
    let node = node();
    if netns != node.host_netns || !call.is_tcp() {
        return;
    }
    let Some(pod) = PODS_BY_ADDRESS.get_ptr(call.address()) else {
        return;
    };
    if is_pod_process(&node) {
        return;
    }
    // SAFETY: a live map value of eight aligned bytes.
    let netns = unsafe { *pod };
    // Without memory for the note the probe is captured, as any other connection.
    call.set_note(SocketNote {
        kind: SocketNote::PROBE,
        port: u32::from(call.port()),
        address: call.address(),
        netns,
    });
}

/// A pod on the host's network shares the netns with kubelet; its cgroup tells it apart.
#[inline(always)]
fn is_pod_process(node: &NodeSettings) -> bool {
    if node.has(NodeSettings::PROBE_BY_ANY_HOST_PROCESS) || node.pods_cgroup == 0 {
        return false;
    }
    #[expect(clippy::cast_possible_wrap, reason = "a depth in the hierarchy is small")]
    let level = node.pods_cgroup_level as i32;
    // SAFETY: the helper takes a number and always succeeds.
    unsafe { bpf_get_current_ancestor_cgroup_id(level) == node.pods_cgroup }
}
