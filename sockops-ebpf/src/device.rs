//! Sockets that are bound to a device: wherever a connection or a datagram is turned, it would leave by that device.

use weir_sockops_ebpf::call::Call;
use weir_sockops_ebpf::socket::unbind_from_device;

/// Whether the call's socket is bound to one.
#[inline(always)]
pub fn binds(call: &Call) -> bool {
    // SAFETY: the kernel guarantees a socket in these hooks.
    unsafe { (*call.socket()).bound_dev_if != 0 }
}

/// Undoes the binding, if there is one: ztunnel speaks to the world anyway. Says whether the socket is free of it.
#[inline(always)]
pub fn release(call: &Call) -> bool {
    !binds(call) || unbind_from_device(call.helper_context())
}
