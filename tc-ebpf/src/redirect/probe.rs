//! Connections that the node's own processes (kubelet, the runtime) make to pods.

use aya_ebpf::bindings::BPF_TCP_SYN_SENT;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_skb_ancestor_cgroup_id};
use weir_common::flow::Flow;
use weir_common::node::NodeSettings;
use weir_ebpf_shared::maps::{PASSES, node};
use weir_tc_ebpf::packet::Packet;
use weir_tc_ebpf::parse::Segment;
use weir_tc_ebpf::socket;

/// Whether the connection was noted where it began. A packet that has crossed into the pod's netns shows no more
/// whose it was.
#[inline(always)]
pub fn is_noted(netns: u64, segment: &Segment) -> bool {
    let flow = Flow {
        netns,
        source: segment.source,
        destination: segment.destination,
        source_port: segment.source_port,
        destination_port: segment.destination_port,
        reserved: 0,
    };
    let Some(expiry) = PASSES.get_ptr(flow) else {
        return false;
    };
    // SAFETY: a live map value of eight aligned bytes; the helper takes nothing and always succeeds.
    unsafe { *expiry > bpf_ktime_get_ns() }
}

/// Whether a socket of this host asks for the connection. Its address proves nothing: others' connections get it too
/// when they are translated on their way. A pod on the host's network is a client like any other.
#[inline(always)]
pub fn is_sent_by_host(packet: &Packet, segment: &Segment) -> bool {
    let Some(sender) = packet.full_socket() else {
        return false;
    };
    // SAFETY: the kernel checked the socket.
    if unsafe { (*sender).state } != BPF_TCP_SYN_SENT || !socket::is_here(packet, segment, sender) {
        return false;
    }
    let node = node();
    if node.pods_cgroup == 0 || node.has(NodeSettings::PROBE_BY_ANY_HOST_PROCESS) {
        return true;
    }
    // SAFETY: the context is the one that the kernel passed.
    let ancestor =
        unsafe { bpf_skb_ancestor_cgroup_id(packet.helper_context(), node.pods_cgroup_level.cast_signed()) };
    ancestor != node.pods_cgroup
}
