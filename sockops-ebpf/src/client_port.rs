//! The ports of a client as a pod sees them: its own, and those under which ztunnel speaks to the application for it.
//! If two connections to one port of the pod had the same, the kernel would give the packets of one to the other.

use aya_ebpf::bindings::BPF_NOEXIST;
use weir_common::address::Address;
use weir_common::flow::{ClientPort, PortUse};
use weir_ebpf_shared::maps::CLIENT_PORTS;

/// The key of a client's port.
#[inline(always)]
#[must_use]
pub fn key(netns: u64, (address, port): (Address, u16)) -> ClientPort {
    ClientPort {
        netns,
        address,
        port: u32::from(port),
        reserved: 0,
    }
}

/// Takes the port if nobody does: the `bind` hook has, unless the kernel has chosen the port.
#[inline(always)]
pub fn ensure_claimed(key: &ClientPort) {
    if CLIENT_PORTS.get_ptr(key).is_none() {
        claim(key);
    }
}

/// Takes the port if nobody uses it.
#[inline(always)]
pub fn claim(key: &ClientPort) -> bool {
    let first = PortUse {
        users: 1,
        interface: 0,
    };
    CLIENT_PORTS.insert(key, first, BPF_NOEXIST.into()).is_ok()
}

/// The client itself is about to connect from the port, by way of `interface`.
#[inline(always)]
pub fn asked_for(key: &ClientPort, interface: u32) {
    if let Some(port) = CLIENT_PORTS.get_ptr_mut(key) {
        // SAFETY: a live map value; aligned words are written whole.
        unsafe { (*port).interface = interface };
    }
}

/// The client itself uses the port. Returns the interface by which it came, if somebody used the port before.
#[inline(always)]
pub fn share(key: &ClientPort) -> Option<u32> {
    if claim(key) {
        return None;
    }
    let port = CLIENT_PORTS.get_ptr_mut(key)?;
    // SAFETY: a live map value. Two CPUs would have to see the same client and port at once to lose a count; the
    // port is then free a little early.
    let interface = unsafe {
        (*port).users += 1;
        (*port).interface
    };
    (interface != 0).then_some(interface)
}

/// One user of the port is gone.
#[inline(always)]
pub fn release(key: &ClientPort) {
    let Some(port) = CLIENT_PORTS.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: as above.
    let last = unsafe {
        (*port).users = (*port).users.wrapping_sub(1);
        (*port).users == 0
    };
    if last {
        CLIENT_PORTS.remove(key).ok();
    }
}
