//! Which ztunnel has a connection, and the way to it.

use weir_common::flow::{Decided, Ends};
use weir_common::mark;
use weir_common::pod::PodEntry;
use weir_common::reason::Reason;
use weir_common::tag::{self, Direction};
use weir_common::ztunnel::{NodeContract, ZtunnelPlace};
use weir_ebpf_shared::account::{Connection, account};
use weir_ebpf_shared::maps::pod;
use weir_tc_ebpf::packet::{Packet, Verdict};

use crate::maps::{UNCHECKED, contract, pod_behind, ztunnel_at};
use crate::recent::{Answer, Question, Site};
use crate::{flow, near};

/// How a packet gets from the program to ztunnel.
#[derive(Clone, Copy)]
pub enum Way {
    /// By the interfaces of the host that lead to the pod and to ztunnel.
    Host(Direction),
    /// From the pod's own interface to ztunnel's, by Ethernet address.
    Frame(Direction),
}

impl Way {
    /// The pod at whose interface the program runs in this era: its netns cookie, and what is known of it.
    #[inline(always)]
    pub fn pod(self, packet: &Packet, era: u64) -> Option<(u64, PodEntry)> {
        near::behind(self.site(packet), era, || {
            let netns = match self {
                Self::Host(_) => pod_behind(packet.interface())?,
                Self::Frame(_) => crate::netns(),
            };
            Some((netns, pod(netns)?))
        })
    }

    /// Where what is found out holds.
    #[inline(always)]
    fn site(self, packet: &Packet) -> Site {
        match self {
            Self::Host(_) => Site::host(packet.interface()),
            Self::Frame(_) => Site::pod(crate::netns()),
        }
    }
}

/// A connection of a pod, to which a packet belongs.
#[derive(Clone, Copy)]
pub struct Subject {
    pub ends: Ends,
    pub connection: Connection,
    /// In which the pod and its address have been checked, if they have been.
    pub era: u64,
    pub way: Way,
}

impl Subject {
    #[inline(always)]
    fn question(&self, packet: &Packet) -> Question<'_> {
        Question::new(&self.ends, self.era, self.way.site(packet))
    }
}

/// What becomes of a segment of a connection that this CPU has lately seen one of, as most are; nothing if more has to be
/// known.
#[inline(always)]
pub fn go_on_as_lately(packet: &Packet, ends: &Ends, era: u64, way: Way) -> Option<Verdict> {
    let question = Question::new(ends, era, way.site(packet));
    let lately = question.recall()?;
    if lately.what != Decided::CAPTURED {
        return Some(Verdict::GoOn);
    }
    let contract = contract();
    // What holds for all holds for those that come while another ztunnel is implied.
    let slot = if question.of_all {
        contract.implied.into()
    } else {
        lately.ztunnel
    };
    let ztunnel = ztunnel_at(slot)?;
    Some(send(packet, &ztunnel, way, contract.secret))
}

/// What becomes of a segment of a connection that has begun. One of which nothing is known goes to ztunnel if the pod's
/// are captured: who is not party to it answers with a reset.
#[inline(always)]
pub fn go_on(packet: &Packet, subject: &Subject, pod: PodEntry) -> Verdict {
    let contract = contract();
    let Some(answer) = answer(packet, subject, pod, &contract) else {
        return Verdict::GoOn;
    };
    if answer.what != Decided::CAPTURED {
        return Verdict::GoOn;
    }
    match ztunnel_at(answer.ztunnel) {
        Some(ztunnel) => send(packet, &ztunnel, subject.way, contract.secret),
        None => {
            account(&subject.connection, Reason::NoZtunnel);
            Verdict::Drop
        }
    }
}

/// What was decided, or goes without saying: then it does for all connections between the two addresses.
#[inline(always)]
fn answer(packet: &Packet, subject: &Subject, pod: PodEntry, contract: &NodeContract) -> Option<Answer> {
    let implied = Answer {
        what: Decided::CAPTURED,
        ztunnel: contract.implied.into(),
    };
    let implied = (pod.has(PodEntry::IMPLIED) && subject.era != UNCHECKED).then_some(implied);
    let question = subject.question(packet);
    let turn = question.turn();
    let decided = if question.of_all {
        None
    } else {
        flow::recall(&subject.ends)
    };
    let decided = decided.filter(|decided| decided.netns == subject.connection.netns);
    let decided = decided.map(|Decided { what, ztunnel, .. }| Answer { what, ztunnel });
    let answer = decided.or(implied)?;
    question.keep(turn, answer);
    Some(answer)
}

/// A connection that begins, and is to be captured for this reason.
#[inline(always)]
pub fn begin(packet: &Packet, subject: &Subject, reason: Reason) -> Verdict {
    let contract = contract();
    match ztunnel_at(contract.current) {
        Some(ztunnel) => {
            let decided = flow::captured(subject.connection.netns, contract.current);
            flow::capture(&subject.ends, &subject.question(packet), decided, &contract);
            account(&subject.connection, reason);
            send(packet, &ztunnel, subject.way, contract.secret)
        }
        None if contract.has(NodeContract::FAIL_OPEN) => pass(subject, Reason::FailOpen),
        None => {
            account(&subject.connection, Reason::NoZtunnel);
            Verdict::Drop
        }
    }
}

/// A connection that begins, and is not captured for this reason.
#[inline(always)]
pub fn pass(subject: &Subject, reason: Reason) -> Verdict {
    account(&subject.connection, reason);
    pass_uncounted(subject)
}

/// A connection that begins and is not captured, which is counted elsewhere or not at all. What has an address of
/// others replaces nothing that was decided for them.
#[inline(always)]
pub fn pass_uncounted(subject: &Subject) -> Verdict {
    if subject.era != UNCHECKED {
        let passed = Decided {
            what: Decided::PASSED,
            ztunnel: 0,
            netns: subject.connection.netns,
        };
        flow::remember(&subject.ends, passed);
    }
    Verdict::GoOn
}

#[inline(always)]
fn send(packet: &Packet, ztunnel: &ZtunnelPlace, way: Way, secret: [u8; 3]) -> Verdict {
    let (mac, direction) = match way {
        Way::Host(direction) => (ztunnel.mac, direction),
        Way::Frame(direction) => (ztunnel.steered, direction),
    };
    if !packet.address_frame(mac, tag::of(direction, secret)) {
        return Verdict::Drop;
    }
    match way {
        // Straight into ztunnel's netns; that is possible on arrival only.
        Way::Host(Direction::Outbound) => packet.enter_behind(ztunnel.interface),
        Way::Host(_) => leave(packet, ztunnel.interface),
        Way::Frame(Direction::Outbound) => Verdict::GoOn,
        Way::Frame(_) => packet.leave_by(packet.interface()),
    }
}

/// Sends a tagged packet out to ztunnel; the mark says that it was us who tagged it.
#[inline(always)]
pub fn leave(packet: &Packet, interface: u32) -> Verdict {
    packet.set_our_mark(mark::TAGGED);
    packet.leave_by(interface)
}
