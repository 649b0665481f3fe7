//! What a pod receives: TCP goes to ztunnel first, and so do complaints about what ztunnel has sent in the pod's name.

use weir_common::flow::Flow;
use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_ebpf_shared::maps::pod;
use weir_ebpf_shared::place;
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Datagram, Link, Segment};

use crate::hand_over::Way;
use crate::{flow, hand_over, maps, probe};

/// What becomes of a packet for the pod with this netns cookie.
#[inline(always)]
pub fn judge(packet: &Packet, netns: u64, way: Way) -> Verdict {
    let Some(datagram) = parse::datagram(packet, Link::Ethernet) else {
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
        return complaint(packet, netns, pod, &datagram, way);
    }
    match datagram.segment(packet) {
        Some(segment) => decide(packet, netns, pod, &segment, way),
        None if datagram.is_later_fragment() && pod.has(PodEntry::REDIRECTING) => {
            account(&datagram.connection(netns), Reason::Fragment);
            Verdict::Drop
        }
        None => Verdict::GoOn,
    }
}

/// An ICMP error about a connection that ztunnel has, such as the one that tells it to send less at once.
#[inline(always)]
fn complaint(packet: &Packet, netns: u64, pod: PodEntry, datagram: &Datagram, way: Way) -> Verdict {
    let about = datagram
        .complained_of(packet)
        .filter(|about| about.source == datagram.destination);
    match about.and_then(|about| about.ports_only(packet)) {
        Some(sent) => hand_over::go_on(
            packet,
            &flow::from_pod(netns, &sent),
            &sent.connection(netns),
            pod,
            way,
        ),
        None => Verdict::GoOn,
    }
}

#[inline(always)]
fn decide(packet: &Packet, netns: u64, pod: PodEntry, segment: &Segment, way: Way) -> Verdict {
    let flow = flow::to_pod(netns, segment);
    let connection = segment.connection(netns);
    if !segment.opens() {
        return hand_over::go_on(packet, &flow, &connection, pod, way);
    }
    if !pod.has(PodEntry::REDIRECTING) {
        flow::pass(&flow);
        return Verdict::GoOn;
    }
    let reason = match exemption(packet, &flow, pod, segment, way) {
        Some(reason) => return hand_over::pass(&flow, &connection, reason),
        None if segment.destination_port == ports::HBONE => Reason::Tunnel,
        None => Reason::Inbound,
    };
    hand_over::begin(packet, &flow, &connection, way, reason)
}

#[inline(always)]
fn exemption(packet: &Packet, flow: &Flow, pod: PodEntry, segment: &Segment, way: Way) -> Option<Reason> {
    let is_probe = match way {
        Way::Host(_) => probe::is_sent_by_host(packet, segment),
        Way::Frame(_) => probe::is_noted(flow),
    };
    if segment.source.is_v6_link_local() {
        Some(Reason::LinkLocal)
    } else if is_probe {
        Some(Reason::Probe)
    } else if segment.destination_port == ports::HBONE {
        None
    } else if pod.has(PodEntry::INBOUND_BYPASS) {
        Some(Reason::InboundBypass)
    } else if place::is_inbound_excluded(flow.netns, pod, segment.destination_port) {
        Some(Reason::ExcludedPort)
    } else {
        None
    }
}
