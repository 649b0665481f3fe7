//! What a pod sends: its TCP goes to ztunnel.

use weir_common::local_pod::LocalPod;
use weir_common::pod::PodEntry;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_ebpf_shared::maps::pod;
use weir_ebpf_shared::place;
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Datagram, Link, Segment};

use crate::hand_over::Way;
use crate::{flow, hand_over, maps};

/// What becomes of a packet of the pod with this netns cookie.
#[inline(always)]
pub fn judge(packet: &Packet, netns: u64, way: Way) -> Verdict {
    let Some(datagram) = parse::datagram(packet, Link::Ethernet).filter(Datagram::is_tcp) else {
        return Verdict::GoOn;
    };
    let Some(pod) = pod(netns) else {
        return Verdict::GoOn;
    };
    // Such a connection is bound to its link, and the address is not unique.
    if datagram.source.is_v6_link_local() || datagram.destination.is_v6_link_local() {
        return Verdict::GoOn;
    }
    if pod.has(PodEntry::REDIRECTING)
        && let Some(reason) = refusal(netns, &datagram)
    {
        account(&datagram.connection(netns), reason);
        return Verdict::Drop;
    }
    match datagram.segment(packet) {
        Some(segment) => decide(packet, netns, pod, &segment, way),
        None => Verdict::GoOn,
    }
}

/// To ztunnel the source is the identity: a forged one must not get there.
#[inline(always)]
fn refusal(netns: u64, datagram: &Datagram) -> Option<Reason> {
    if maps::local_pod(datagram.source).is_none_or(|pod| pod.netns != netns) {
        Some(Reason::ForeignSource)
    } else if datagram.is_later_fragment() {
        Some(Reason::Fragment)
    } else {
        None
    }
}

#[inline(always)]
fn decide(packet: &Packet, netns: u64, pod: PodEntry, segment: &Segment, way: Way) -> Verdict {
    let flow = flow::from_pod(netns, segment);
    let connection = segment.connection(netns);
    if !segment.opens() {
        return hand_over::go_on(packet, &flow, &connection, pod, way);
    }
    if !pod.has(PodEntry::REDIRECTING) {
        flow::pass(&flow);
        return Verdict::GoOn;
    }
    let exemption = exemption(netns, pod, segment);
    if pod.has(PodEntry::DETOURED) && (exemption.is_some() || pod.has(PodEntry::OPEN)) {
        // Counted where it was made.
        flow::pass(&flow);
        return Verdict::GoOn;
    }
    match exemption {
        Some(reason) => hand_over::pass(&flow, &connection, reason),
        None => hand_over::begin(packet, &flow, &connection, way, Reason::Outbound),
    }
}

#[inline(always)]
fn exemption(netns: u64, pod: PodEntry, segment: &Segment) -> Option<Reason> {
    if maps::local(segment.destination).is_some_and(|local| local.has(LocalPod::ZTUNNEL)) {
        Some(Reason::ToZtunnel)
    } else {
        place::outbound_exclusion(netns, pod, segment.destination, segment.destination_port)
    }
}
