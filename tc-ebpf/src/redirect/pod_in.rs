//! Departure to a pod, at the host's end of its interface: TCP goes to ztunnel first, and so do complaints about what
//! ztunnel has sent in the pod's name.

use aya_ebpf::bindings::{BPF_TCP_SYN_SENT, bpf_sock};
use aya_ebpf::helpers::generated::{bpf_sk_fullsock, bpf_skb_ancestor_cgroup_id};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::node::NodeSettings;
use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_common::tag::Direction;
use weir_ebpf_shared::account::account;
use weir_ebpf_shared::maps::{node, pod};
use weir_ebpf_shared::place;
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Datagram, Link, Segment};

use crate::{flow, hand_over, maps};

/// The program.
#[classifier]
pub fn weir_pod_in(context: TcContext) -> i32 {
    judge(&Packet::new(context)).code()
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    let Some(datagram) = parse::datagram(packet, Link::Ethernet) else {
        return Verdict::GoOn;
    };
    let Some(netns) = maps::pod_behind(packet.interface()) else {
        return Verdict::GoOn;
    };
    let Some(pod) = pod(netns) else {
        return Verdict::GoOn;
    };
    // What is routed through the pod to others is not the pod's.
    if maps::local_pod(datagram.destination).is_none_or(|local| local.netns != netns) {
        return Verdict::GoOn;
    }
    if !datagram.is_tcp() {
        return complaint(packet, netns, pod, &datagram);
    }
    match datagram.segment(packet) {
        Some(segment) => decide(packet, netns, pod, &segment),
        None if datagram.is_later_fragment() && pod.has(PodEntry::REDIRECTING) => {
            account(&datagram.connection(netns), Reason::Fragment);
            Verdict::Drop
        }
        None => Verdict::GoOn,
    }
}

/// An ICMP error about a connection that ztunnel has, such as the one that tells it to send less at once.
#[inline(always)]
fn complaint(packet: &Packet, netns: u64, pod: PodEntry, datagram: &Datagram) -> Verdict {
    let about = datagram
        .complained_of(packet)
        .filter(|about| about.source == datagram.destination);
    match about.and_then(|about| about.ports_only(packet)) {
        Some(sent) => hand_over::go_on(
            packet,
            &flow::from_pod(netns, &sent),
            &sent.connection(netns),
            pod,
            Direction::Inbound,
        ),
        None => Verdict::GoOn,
    }
}

#[inline(always)]
fn decide(packet: &Packet, netns: u64, pod: PodEntry, segment: &Segment) -> Verdict {
    let flow = flow::to_pod(netns, segment);
    let connection = segment.connection(netns);
    if !segment.opens() {
        return hand_over::go_on(packet, &flow, &connection, pod, Direction::Inbound);
    }
    if !pod.has(PodEntry::REDIRECTING) {
        flow::pass(&flow);
        return Verdict::GoOn;
    }
    let reason = match exemption(packet, netns, pod, segment) {
        Some(reason) => return hand_over::pass(&flow, &connection, reason),
        None if segment.destination_port == ports::HBONE => Reason::Tunnel,
        None => Reason::Inbound,
    };
    hand_over::begin(packet, &flow, &connection, Direction::Inbound, reason)
}

#[inline(always)]
fn exemption(packet: &Packet, netns: u64, pod: PodEntry, segment: &Segment) -> Option<Reason> {
    if segment.source.is_v6_link_local() {
        Some(Reason::LinkLocal)
    } else if is_probe(packet) {
        Some(Reason::Probe)
    } else if segment.destination_port == ports::HBONE {
        None
    } else if pod.has(PodEntry::INBOUND_BYPASS) {
        Some(Reason::InboundBypass)
    } else if place::is_inbound_excluded(netns, pod, segment.destination_port) {
        Some(Reason::ExcludedPort)
    } else {
        None
    }
}

/// Whether a socket of this host asks for the connection. Its address proves nothing: others' connections get it too
/// when they are translated on their way. A pod on the host's network is a client like any other.
#[inline(always)]
fn is_probe(packet: &Packet) -> bool {
    let Some(socket) = full_socket(packet) else {
        return false;
    };
    // SAFETY: the kernel checked the socket.
    if unsafe { (*socket).state } != BPF_TCP_SYN_SENT {
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

#[inline(always)]
fn full_socket(packet: &Packet) -> Option<*mut bpf_sock> {
    let socket = packet.socket();
    if socket.is_null() {
        return None;
    }
    // SAFETY: the pointer is checked; the helper answers null for sockets that are not full ones.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() { None } else { Some(socket) }
}
