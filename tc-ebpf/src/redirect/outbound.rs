//! What a pod sends: its TCP goes to ztunnel.

use weir_common::local_pod::LocalPod;
use weir_common::pod::PodEntry;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_ebpf_shared::place;
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Datagram, Link, Segment};

use crate::hand_over::{Subject, Way};
use crate::{flow, hand_over, maps};

/// What becomes of a packet of the pod at whose interface the program runs.
#[inline(always)]
pub fn judge(packet: &Packet, way: Way) -> Verdict {
    let era = maps::era();
    let Some(datagram) = parse::datagram(packet, Link::Ethernet).filter(Datagram::is_tcp) else {
        return Verdict::GoOn;
    };
    let segment = datagram.segment(packet);
    if let Some(segment) = segment.filter(|segment| !segment.opens())
        && let Some(verdict) = hand_over::go_on_as_lately(packet, &flow::from_pod(&segment), era, way)
    {
        return verdict;
    }
    let Some((netns, pod)) = way.pod(packet, era) else {
        return Verdict::GoOn;
    };
    // Such a connection is bound to its link, and the address is not unique.
    if datagram.source.is_v6_link_local() || datagram.destination.is_v6_link_local() {
        return Verdict::GoOn;
    }
    let era = match refusal(netns, &datagram, era) {
        Some(reason) if pod.has(PodEntry::REDIRECTING) => {
            account(&datagram.connection(netns), reason);
            return Verdict::Drop;
        }
        Some(_) => maps::UNCHECKED,
        None => era,
    };
    match segment {
        Some(segment) => {
            let (ends, connection) = (flow::from_pod(&segment), segment.connection(netns));
            let subject = Subject {
                ends,
                connection,
                era,
                way,
            };
            decide(packet, &subject, pod, &segment)
        }
        None => Verdict::GoOn,
    }
}

/// To ztunnel the source is the identity: a forged one must not get there.
#[inline(always)]
fn refusal(netns: u64, datagram: &Datagram, era: u64) -> Option<Reason> {
    if maps::local_pod(datagram.source, era).is_none_or(|pod| pod.netns != netns) {
        Some(Reason::ForeignSource)
    } else if datagram.is_later_fragment() {
        Some(Reason::Fragment)
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
    let exemption = exemption(subject, pod, segment);
    if pod.has(PodEntry::DETOURED) && (exemption.is_some() || pod.has(PodEntry::OPEN)) {
        // Counted where it was made.
        return hand_over::pass_uncounted(subject);
    }
    match exemption {
        Some(reason) => hand_over::pass(subject, reason),
        None => hand_over::begin(packet, subject, Reason::Outbound),
    }
}

#[inline(always)]
fn exemption(subject: &Subject, pod: PodEntry, segment: &Segment) -> Option<Reason> {
    let netns = subject.connection.netns;
    if maps::local(segment.destination, subject.era).is_some_and(|local| local.has(LocalPod::ZTUNNEL)) {
        Some(Reason::ToZtunnel)
    } else {
        place::outbound_exclusion(netns, pod, segment.destination, segment.destination_port)
    }
}
