//! Options of a socket, set from a program.

use core::ffi::c_void;
use core::ptr::{from_mut, from_ref};

use aya_ebpf::helpers::generated::bpf_setsockopt;

const SOL_SOCKET: i32 = 1;
const SO_REUSEADDR: i32 = 2;
const SO_BINDTODEVICE: i32 = 25;
const SO_MARK: i32 = 36;
const SO_BINDTOIFINDEX: i32 = 62;

/// Loopback has this index in every network namespace.
pub const LOOPBACK_INDEX: u32 = 1;

/// A hook's context, by which helpers find the socket.
pub type HelperContext = *mut c_void;

/// Sets the mark. The kernel forgets the socket's route with it, so the next packet is routed by the new mark.
#[inline(always)]
pub fn set_mark(context: HelperContext, mark: u32) -> bool {
    set_integer(context, SO_MARK, mark)
}

/// Lets an address be bound that connected sockets still hold.
#[inline(always)]
pub fn allow_address_reuse(context: HelperContext) -> bool {
    set_integer(context, SO_REUSEADDR, 1)
}

/// Binds the socket to loopback: it then matches no packet from outside. By its name where the kernel takes no index, as
/// a name has to be looked for.
#[inline(always)]
pub fn bind_to_loopback(context: HelperContext) -> bool {
    bind_to_interface(context, LOOPBACK_INDEX) || bind_to_device(context, *b"lo\0\0")
}

/// Binds the socket to an interface: it then matches no packet from elsewhere. Kernels before 6.1 refuse.
#[inline(always)]
pub fn bind_to_interface(context: HelperContext, index: u32) -> bool {
    set_integer(context, SO_BINDTOIFINDEX, index)
}

/// Undoes a binding to a device.
#[inline(always)]
pub fn unbind_from_device(context: HelperContext) -> bool {
    bind_to_device(context, [0; 4])
}

#[inline(always)]
fn bind_to_device(context: HelperContext, name: [u8; 4]) -> bool {
    let name = from_ref(&name).cast_mut().cast();
    // SAFETY: the helper reads four bytes of a live array.
    unsafe { bpf_setsockopt(context, SOL_SOCKET, SO_BINDTODEVICE, name, 4) == 0 }
}

#[inline(always)]
fn set_integer(context: HelperContext, option: i32, mut value: u32) -> bool {
    // SAFETY: the helper reads four bytes of a live integer.
    unsafe { bpf_setsockopt(context, SOL_SOCKET, option, from_mut(&mut value).cast(), 4) == 0 }
}
