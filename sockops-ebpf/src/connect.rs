//! `connect()`: decides once per connection; delivery is the routing rule's and the lookup's part.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use weir_common::address::Address;
use weir_common::flow::SocketNote;
use weir_common::mark;
use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_ebpf_shared::place::{self, Place};
use weir_ebpf_shared::pod::Pod;
use weir_sockops_ebpf::call::{Answer, Call, Family};
use weir_sockops_ebpf::making;
use weir_sockops_ebpf::socket::{bind_to_loopback, set_mark};

use crate::{bind, device, dns, probe, ztunnel};

#[cgroup_sock_addr(connect4)]
pub fn weir_connect4(context: SockAddrContext) -> i32 {
    connect(&Call::new(context, Family::V4)).code()
}

#[cgroup_sock_addr(connect6)]
pub fn weir_connect6(context: SockAddrContext) -> i32 {
    connect(&Call::new(context, Family::V6)).code()
}

/// After other people's programs.
#[cgroup_sock_addr(connect4)]
pub fn weir_settle4(context: SockAddrContext) -> i32 {
    settle(&Call::new(context, Family::V4)).code()
}

/// After other people's programs.
#[cgroup_sock_addr(connect6)]
pub fn weir_settle6(context: SockAddrContext) -> i32 {
    settle(&Call::new(context, Family::V6)).code()
}

/// A load balancer may have rewritten the service that a captured connection goes to; ztunnel has to see the service,
/// and its own connections are balanced all the same.
#[inline(always)]
fn settle(call: &Call) -> Answer {
    if mark::ours(ztunnel::socket_mark(call)) == mark::OUTBOUND
        && let Some((address, port)) = making::end(call.netns()).or_else(|| noted(call))
    {
        call.set_port(port);
        call.set_address(address);
    }
    Answer::Allow
}

#[inline(always)]
fn noted(call: &Call) -> Option<(Address, u16)> {
    let note = call.note().filter(|note| note.kind == SocketNote::CAPTURED)?;
    #[expect(clippy::cast_possible_truncation, reason = "it was a port when it was noted")]
    Some((note.address, note.port as u16))
}

#[inline(always)]
fn connect(call: &Call) -> Answer {
    let netns = call.netns();
    match Pod::of(netns) {
        Some(pod) if !pod.has(PodEntry::CAPTURING) => {
            // Until ztunnel has left, too, it makes connections for those that are still open.
            if pod.has(PodEntry::DRAINING) && call.is_tcp() && ztunnel::calls(call) {
                return from_ztunnel(call, &pod);
            }
            Answer::Allow
        }
        Some(pod) if call.is_tcp() => enrolled(call, &pod),
        Some(pod) if call.is_udp() => dns::query(call, &pod),
        Some(_) => Answer::Allow,
        None => {
            probe::note(call, netns);
            Answer::Allow
        }
    }
}

#[inline(always)]
fn enrolled(call: &Call, pod: &Pod) -> Answer {
    if ztunnel::calls(call) {
        return from_ztunnel(call, pod);
    }
    // Before the address is replaced.
    let asked = call.connection(pod.netns);
    let (reason, answer) = from_application(call, pod);
    call.account(&asked, reason);
    answer
}

#[inline(always)]
fn from_ztunnel(call: &Call, pod: &Pod) -> Answer {
    let (client, address) = (ztunnel::source(call), call.address());
    let reason = match place::of(address, || pod.is_own(address)) {
        Place::Own(Reason::OwnAddress) if is_foreign(pod, client) => to_application(call),
        Place::Own(Reason::OwnAddress) => to_application_as_itself(call, pod.netns),
        _ => {
            // It takes a port of the pod, which the application may want to bind.
            bind::reuse(call, pod.netns);
            Reason::FromZtunnel
        }
    };
    account(&call.connection(pod.netns), reason);
    match reason {
        // The application's answers would not find their way back.
        Reason::MarkRefused => Answer::Refuse,
        _ => Answer::Allow,
    }
}

#[inline(always)]
fn is_foreign(pod: &Pod, client: Address) -> bool {
    !client.is_unspecified() && !pod.is_own(client)
}

/// ztunnel's connection to the application comes from the client's address. The mark makes the application's answers
/// come back over loopback; the binding keeps packets of the real client out of it, whatever its port.
#[inline(always)]
fn to_application(call: &Call) -> Reason {
    let mark = mark::replaced(ztunnel::socket_mark(call), mark::TO_APPLICATION);
    if set_mark(call.helper_context(), mark) && bind_to_loopback(call.helper_context()) {
        Reason::ToApplication
    } else {
        Reason::MarkRefused
    }
}

/// The client is the pod itself, or is not shown to the application: answers go to the pod's own address, which the
/// kernel delivers as by that address's interface. The application must not inherit ztunnel's mark.
#[inline(always)]
fn to_application_as_itself(call: &Call, netns: u64) -> Reason {
    bind::reuse(call, netns);
    let mark = mark::replaced(ztunnel::socket_mark(call), 0);
    if set_mark(call.helper_context(), mark) {
        Reason::ToApplication
    } else {
        Reason::MarkRefused
    }
}

#[inline(always)]
fn from_application(call: &Call, pod: &Pod) -> (Reason, Answer) {
    let (address, port) = (call.address(), call.port());
    match place::of(address, || pod.is_own(address)) {
        Place::Own(_) if ports::is_ztunnel(port) => (Reason::ZtunnelPort, Answer::Refuse),
        Place::Own(reason) | Place::Uncaptured(reason) => uncaptured(call, reason),
        Place::World if port == ports::DNS && pod.has(PodEntry::DNS) => {
            unmark(call);
            dns::turn_to_ztunnel(call, Reason::DnsTcp)
        }
        Place::World => match place::outbound_exclusion(pod.netns, pod.entry, address, port) {
            Some(reason) => excluded(call, reason),
            None => captured(call, pod.netns),
        },
    }
}

#[inline(always)]
fn captured(call: &Call, netns: u64) -> (Reason, Answer) {
    // It would not follow the rule.
    if !device::release(call) {
        return (Reason::BoundDevice, Answer::Refuse);
    }
    if set_mark(
        call.helper_context(),
        mark::replaced(ztunnel::socket_mark(call), mark::OUTBOUND),
    ) {
        if !making::begin(netns, call.address(), call.port()) {
            note_destination(call, SocketNote::CAPTURED);
        }
        (Reason::Outbound, Answer::Allow)
    } else {
        (Reason::MarkRefused, Answer::Refuse)
    }
}

/// The annotations' decision is noted: whoever looks at the socket later must not have to take it again, as a service
/// address may be a pod's by then.
#[inline(always)]
fn excluded(call: &Call, reason: Reason) -> (Reason, Answer) {
    note_destination(call, SocketNote::EXCLUDED);
    uncaptured(call, reason)
}

#[inline(always)]
fn note_destination(call: &Call, kind: u32) {
    // Without memory for the note other people's programs have the last word on the destination.
    call.set_note(SocketNote {
        kind,
        port: u32::from(call.port()),
        address: call.address(),
        netns: 0,
    });
}

#[inline(always)]
fn uncaptured(call: &Call, reason: Reason) -> (Reason, Answer) {
    unmark(call);
    (reason, Answer::Allow)
}

/// A socket may be used again after an earlier, captured connection: its mark must not capture this one.
#[inline(always)]
fn unmark(call: &Call) {
    let mark = ztunnel::socket_mark(call);
    if mark::ours(mark) == mark::OUTBOUND {
        set_mark(call.helper_context(), mark::replaced(mark, 0));
    }
}
