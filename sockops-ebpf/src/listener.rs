//! Whether something listens on a port of the pod: a bind to a listener's port fails whatever the address.

use core::mem::size_of;

use aya_ebpf::bindings::{
    bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple4,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Tuple6,
};
use aya_ebpf::helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_release};
use weir_common::address::Address;
use weir_common::given_ports;
use weir_common::node::NodeSettings;
use weir_ebpf_shared::maps::{LISTENED, node};
use weir_sockops_ebpf::call::Call;

/// The namespace of the call's socket (`BPF_F_CURRENT_NETNS`).
const CURRENT_NETNS: u64 = u64::MAX;

/// Something in a pod listens on the port. Ports are remembered for all pods together, and for ever: those that
/// ztunnel's connections are given seldom have a listener anywhere.
#[inline(always)]
pub fn note(port: u16) {
    if given_ports::contain(port) {
        // An array has each of its places.
        LISTENED.set(u32::from(port), 1, 0).ok();
    }
}

/// Whether a listener on every address has the port, in the family of the call's address.
#[inline(always)]
pub fn is_on(call: &Call, port: u16) -> bool {
    (has_been_on(port) || node().has(NodeSettings::LISTENERS_UNSEEN)) && is_found(call, port)
}

/// To ask the kernel takes a third of what all programs together take for a connection.
#[inline(always)]
fn has_been_on(port: u16) -> bool {
    LISTENED
        .get(u32::from(port))
        .is_some_and(|listened| *listened != 0)
}

/// Asked by way of loopback, which such listeners take too and which nobody captures.
#[inline(always)]
fn is_found(call: &Call, port: u16) -> bool {
    let port = port.to_be();
    if call.address().as_v4().is_some() {
        let address = Address::LOOPBACK_V4.words[3];
        let ipv4 = Tuple4 {
            saddr: address,
            daddr: address,
            sport: 0,
            dport: port,
        };
        found(call, bpf_sock_tuple__bindgen_ty_1 { ipv4 }, size_of::<Tuple4>())
    } else {
        let address = Address::LOOPBACK_V6.words;
        let ipv6 = Tuple6 {
            saddr: address,
            daddr: address,
            sport: 0,
            dport: port,
        };
        found(call, bpf_sock_tuple__bindgen_ty_1 { ipv6 }, size_of::<Tuple6>())
    }
}

#[inline(always)]
fn found(call: &Call, tuple: bpf_sock_tuple__bindgen_ty_1, size: usize) -> bool {
    let mut tuple = bpf_sock_tuple {
        __bindgen_anon_1: tuple,
    };
    #[expect(clippy::cast_possible_truncation, reason = "the size of a small struct")]
    // SAFETY: the helper reads `size` bytes of a live tuple; a socket that it finds is held until released.
    unsafe {
        let socket = bpf_sk_lookup_tcp(
            call.helper_context(),
            &raw mut tuple,
            size as u32,
            CURRENT_NETNS,
            0,
        );
        if socket.is_null() {
            return false;
        }
        bpf_sk_release(socket.cast());
    }
    true
}
