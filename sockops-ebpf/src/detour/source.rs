//! `bind()` in ztunnel: a connection for a pod of this path is made from ztunnel's own address. From the pod's, the
//! answers would go to the pod, which knows nothing of the connection.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use weir_common::address::Address;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_sockops_ebpf::call::{Answer, Call, Family};

use crate::maps::detoured_pod;

#[cgroup_sock_addr(bind4)]
pub fn weir_source4(context: SockAddrContext) -> i32 {
    bind(&Call::new(context, Family::V4)).code()
}

#[cgroup_sock_addr(bind6)]
pub fn weir_source6(context: SockAddrContext) -> i32 {
    bind(&Call::new(context, Family::V6)).code()
}

#[inline(always)]
fn bind(call: &Call) -> Answer {
    if call.port() == 0
        && call.is_tcp()
        && let Some(netns) = detoured_pod(call.address())
    {
        account(&call.connection(netns), Reason::ZtunnelSource);
        call.set_address(unspecified_like(call.address()));
    }
    Answer::Allow
}

/// The kernel then takes the address that suits the route: ztunnel may have several.
#[inline(always)]
fn unspecified_like(address: Address) -> Address {
    if address.as_v4().is_some() {
        Address::from_v4(0)
    } else {
        Address::default()
    }
}
