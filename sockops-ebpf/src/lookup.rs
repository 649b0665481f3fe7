//! The lookup of a listener in a pod's netns: hands new connections to ztunnel.
#![expect(missing_docs, reason = "the macro of the program drops its documentation")]
#![no_std]
#![no_main]

use aya_ebpf::bindings::sk_action::{SK_DROP, SK_PASS};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_sk_assign};
use aya_ebpf::macros::sk_lookup;
use aya_ebpf::programs::SkLookupContext;
use weir_common::address::Address;
use weir_common::flow::Flow;
use weir_common::given_ports;
use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::{Connection, account};
use weir_ebpf_shared::listeners;
use weir_ebpf_shared::maps::{self, PASSES};
use weir_ebpf_shared::place;
use weir_sockops_ebpf::client_port::Client;
use weir_sockops_ebpf::socket::LOOPBACK_INDEX;
use weir_sockops_ebpf::{read_address, read_field};

weir_ebpf_shared::object!();
weir_ebpf_shared::instance!();

const IPPROTO_TCP: u32 = 6;
/// ztunnels that overlap share their port; the kernel must not spread connections over them.
const NO_REUSEPORT: u64 = 2;

/// New connections, before the kernel looks for a listener.
#[sk_lookup]
pub fn weir_lookup(context: SkLookupContext) -> u32 {
    let arrival = Arrival { context };
    let (verdict, reason) = match decide(&arrival) {
        Delivery::Pass(reason) => (SK_PASS, reason),
        Delivery::Refuse(reason) => (SK_DROP, Some(reason)),
        Delivery::Ztunnel(port, reason) if deliver(&arrival, port) => (SK_PASS, reason),
        Delivery::Ztunnel(..) => (SK_DROP, Some(Reason::NoListener)),
    };
    if let Some(reason) = reason {
        account(&arrival.connection(netns()), reason);
    }
    verdict
}

/// Who takes a connection, and what is told of it.
enum Delivery {
    /// The socket that listens there.
    Pass(Option<Reason>),
    /// ztunnel's listener on this port. Outbound connections were told of when they were made.
    Ztunnel(u16, Option<Reason>),
    /// Nobody.
    Refuse(Reason),
}

#[inline(always)]
fn decide(arrival: &Arrival) -> Delivery {
    let netns = netns();
    if arrival.protocol() != IPPROTO_TCP {
        return Delivery::Pass(None);
    }
    let (destination, port) = arrival.local();
    // Before anything else: the `bind` hook asks by way of loopback whether something listens on a port.
    if destination.is_loopback() {
        return Delivery::Pass(None);
    }
    let Some(pod) = maps::pod(netns).filter(|pod| pod.has(PodEntry::CAPTURING)) else {
        return Delivery::Pass(None);
    };
    let to_pod = maps::is_own(netns, destination);
    let (source, _) = arrival.remote();
    // By loopback come what the routing rules captured, and ztunnel's connections to the application: those are bound
    // to it, where nothing from outside arrives. What is captured may have any source: an address of the pod that is
    // not known yet, or one that an application borrows.
    if arrival.interface() == LOOPBACK_INDEX {
        return if to_pod || stays_inside(source, destination) {
            Delivery::Pass(None)
        } else {
            Delivery::Ztunnel(ports::OUTBOUND, None)
        };
    }
    // The kernel takes packets from loopback addresses only from inside.
    if to_pod && source.is_loopback() {
        return Delivery::Pass(None);
    }
    if maps::is_own(netns, source) {
        return if to_pod {
            Delivery::Pass(None)
        } else {
            Delivery::Ztunnel(ports::OUTBOUND, None)
        };
    }
    // Whatever a virtual machine in the pod sends is outbound, wherever it goes.
    if maps::is_virtual(netns, arrival.interface()) {
        return match place::virtual_exemption(netns, pod, destination, port) {
            Some(_) => Delivery::Pass(None),
            None => Delivery::Ztunnel(ports::OUTBOUND, None),
        };
    }
    // An address that is not known as the pod's: it is new, or there was no room for it. To ztunnel it would be the
    // world's, and straight to the application would be past the mesh.
    if !to_pod && !pod.has(PodEntry::INBOUND_BYPASS) {
        return Delivery::Refuse(Reason::UnknownAddress);
    }
    match inbound_exemption(arrival, netns, pod, port) {
        Some(reason) => Delivery::Pass(Some(reason)),
        None => {
            let (client, port) = arrival.remote();
            if given_ports::contain(port) {
                Client::of(netns, client).asks(port, arrival.interface());
            }
            Delivery::Ztunnel(ports::INBOUND, Some(Reason::Inbound))
        }
    }
}

/// Whether a connection is one to an address that is local by a route alone: the kernel then gives both ends the same.
#[inline(always)]
const fn stays_inside(source: Address, destination: Address) -> bool {
    source.is(destination)
}

#[inline(always)]
fn inbound_exemption(arrival: &Arrival, netns: u64, pod: PodEntry, port: u16) -> Option<Reason> {
    if port == ports::HBONE {
        Some(Reason::Hbone)
    } else if pod.has(PodEntry::INBOUND_BYPASS) {
        Some(Reason::InboundBypass)
    } else if place::is_inbound_excluded(netns, pod, port) {
        Some(Reason::ExcludedPort)
    } else if is_probe(arrival, netns) {
        Some(Reason::Probe)
    } else {
        None
    }
}

#[inline(always)]
fn is_probe(arrival: &Arrival, netns: u64) -> bool {
    let (source, source_port) = arrival.remote();
    let (destination, destination_port) = arrival.local();
    let flow = Flow {
        netns,
        source,
        destination,
        source_port,
        destination_port,
        reserved: 0,
    };
    // SAFETY: a live map value of eight aligned bytes; the clock helper takes nothing.
    PASSES
        .get_ptr(flow)
        .is_some_and(|expiry| unsafe { *expiry > bpf_ktime_get_ns() })
}

/// Hands the connection to the newest of ztunnel's listeners that is still there. Without one nothing reaches the
/// application in clear: the kernel answers a dropped lookup with a reset, where its routing lets one out.
#[inline(always)]
fn deliver(arrival: &Arrival, port: u16) -> bool {
    listeners::offer(netns(), port, |socket| {
        // SAFETY: the context is the one that the kernel passed, the socket is held by the caller.
        unsafe { bpf_sk_assign(arrival.context.lookup.cast(), socket, NO_REUSEPORT) == 0 }
    })
}

/// A packet that no connection claims.
struct Arrival {
    context: SkLookupContext,
}

macro_rules! read {
    ($arrival:expr, $($field:tt)+) => { read_field!($arrival.context.lookup, $($field)+) };
}

impl Arrival {
    #[inline(always)]
    fn protocol(&self) -> u32 {
        read!(self, protocol)
    }

    /// The interface; for a packet over loopback to one of the pod's addresses it is the address's, unless the
    /// sending socket is bound to loopback.
    #[inline(always)]
    fn interface(&self) -> u32 {
        read!(self, ingress_ifindex)
    }

    #[inline(always)]
    fn remote(&self) -> (Address, u16) {
        let address = read_address!(self.context.lookup, remote_ip4, remote_ip6);
        (address, u16::from_be(read!(self, remote_port)))
    }

    #[inline(always)]
    fn local(&self) -> (Address, u16) {
        let address = read_address!(self.context.lookup, local_ip4, local_ip6);
        #[expect(clippy::cast_possible_truncation, reason = "a port in host byte order")]
        (address, read!(self, local_port) as u16)
    }

    #[inline(always)]
    fn connection(&self, netns: u64) -> Connection {
        let (source, source_port) = self.remote();
        let (destination, destination_port) = self.local();
        Connection {
            netns,
            process: 0,
            source,
            source_port,
            destination,
            destination_port,
        }
    }
}
