//! What a pod receives: TCP goes to ztunnel first, and so do complaints about what ztunnel has sent in the pod's name.

use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_ebpf_shared::place;
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Datagram, Link, Segment};

use crate::hand_over::{Subject, Way};
use crate::{flow, hand_over, maps, probe};

/// What becomes of a packet for the pod at whose interface the program runs.
#[inline(always)]
pub fn judge(packet: &Packet, way: Way) -> Verdict {
    let era = maps::era();
    let Some(datagram) = parse::datagram(packet, Link::Ethernet) else {
        return Verdict::GoOn;
    };
    let segment = datagram.segment(packet);
    if let Some(segment) = segment.filter(|segment| !segment.opens())
        && let Some(verdict) = hand_over::go_on_as_lately(packet, &flow::to_pod(&segment), era, way)
    {
        return verdict;
    }
    let Some((netns, pod)) = way.pod(packet, era) else {
        return Verdict::GoOn;
    };
    // What is routed through the pod to others is not the pod's.
    if maps::local_pod(datagram.destination, era).is_none_or(|local| local.netns != netns) {
        return Verdict::GoOn;
    }
    let subject = |ends, connection| Subject {
        ends,
        connection,
        era,
        way,
    };
    match segment {
        Some(segment) => {
            let subject = subject(flow::to_pod(&segment), segment.connection(netns));
            decide(packet, &subject, pod, &segment)
        }
        None if !datagram.is_tcp() => match complaint(packet, &datagram) {
            Some(sent) => {
                let subject = subject(flow::from_pod(&sent), sent.connection(netns));
                hand_over::go_on(packet, &subject, pod)
            }
            None => Verdict::GoOn,
        },
        None if datagram.is_later_fragment() && pod.has(PodEntry::REDIRECTING) => {
            account(&datagram.connection(netns), Reason::Fragment);
            Verdict::Drop
        }
        None => Verdict::GoOn,
    }
}

/// What an ICMP error to the pod is about, such as one that tells ztunnel to send less at once.
#[inline(always)]
fn complaint(packet: &Packet, datagram: &Datagram) -> Option<Segment> {
    let about = datagram.complained_of(packet)?;
    if about.source == datagram.destination {
        about.ports_only(packet)
    } else {
        None
    }
}

#[inline(always)]
fn decide(packet: &Packet, subject: &Subject, pod: PodEntry, segment: &Segment) -> Verdict {
    if !segment.opens() {
        return hand_over::go_on(packet, subject, pod);
    }
    if !pod.has(PodEntry::REDIRECTING) {
        return hand_over::pass_uncounted(subject);
    }
    let reason = match exemption(packet, subject, pod, segment) {
        Some(reason) => return hand_over::pass(subject, reason),
        None if segment.destination_port == ports::HBONE => Reason::Tunnel,
        None => Reason::Inbound,
    };
    hand_over::begin(packet, subject, reason)
}

#[inline(always)]
fn exemption(packet: &Packet, subject: &Subject, pod: PodEntry, segment: &Segment) -> Option<Reason> {
    let netns = subject.connection.netns;
    let is_probe = match subject.way {
        Way::Host(_) => probe::is_sent_by_host(packet, segment),
        Way::Frame(_) => probe::is_noted(netns, segment),
    };
    if segment.source.is_v6_link_local() {
        Some(Reason::LinkLocal)
    } else if is_probe {
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
