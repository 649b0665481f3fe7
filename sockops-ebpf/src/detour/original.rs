//! `getsockopt(SO_ORIGINAL_DST)` in ztunnel: answers what netfilter would, had it translated the address.

use core::ffi::c_void;
use core::ptr::{NonNull, addr_of, addr_of_mut, null_mut};

use aya_ebpf::bindings::bpf_sockopt;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::macros::cgroup_sockopt;
use aya_ebpf::programs::SockoptContext;
use weir_common::flow::SocketNote;
use weir_ebpf_shared::maps::NOTES;

const SOL_IP: i32 = 0;
const SOL_IPV6: i32 = 41;
const SO_ORIGINAL_DST: i32 = 80;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Reads the note or nothing; only `arrival` makes it.
const NO_CREATE: u64 = 0;

/// `struct sockaddr_in`.
#[repr(C)]
struct Socket4 {
    family: u16,
    port: u16,
    address: u32,
    zero: [u32; 2],
}

/// `struct sockaddr_in6`.
#[repr(C)]
struct Socket6 {
    family: u16,
    port: u16,
    flow: u32,
    address: [u32; 4],
    scope: u32,
}

macro_rules! field {
    ($context:expr, $($field:tt)+) => {
        // SAFETY: the context outlives the program, and the verifier checks the offset. Volatile, because the kernel
        // allows only the access widths that it declares.
        unsafe { addr_of!((*$context).$($field)+).read_volatile() }
    };
}

/// Whatever the answer, the call goes on; where there is none the kernel's own error stands.
#[cgroup_sockopt(getsockopt)]
#[expect(clippy::needless_pass_by_value, reason = "the hook's signature")]
pub fn weir_original(context: SockoptContext) -> i32 {
    let context = context.sockopt;
    if field!(context, optname) == SO_ORIGINAL_DST {
        match field!(context, level) {
            SOL_IP => answer4(context),
            SOL_IPV6 => answer6(context),
            _ => {}
        }
    }
    1
}

#[inline(always)]
fn answer4(context: *mut bpf_sockopt) {
    let Some(note) = note(context) else { return };
    let Some(address) = note.address.as_v4() else {
        return;
    };
    let answer = Socket4 {
        family: AF_INET,
        port: big_endian(note.port),
        address,
        zero: [0; 2],
    };
    put(context, answer);
}

#[inline(always)]
fn answer6(context: *mut bpf_sockopt) {
    let Some(note) = note(context) else { return };
    if note.address.as_v4().is_some() {
        return;
    }
    let answer = Socket6 {
        family: AF_INET6,
        port: big_endian(note.port),
        flow: 0,
        address: note.address.words,
        scope: 0,
    };
    put(context, answer);
}

#[inline(always)]
fn big_endian(port: u32) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "it was a port when it was noted")]
    let port = port as u16;
    port.to_be()
}

/// A buffer that is too small gets the kernel's error, as it would from netfilter.
#[inline(always)]
fn put<T>(context: *mut bpf_sockopt, answer: T) {
    let start: *mut c_void = field!(context, __bindgen_anon_2.optval);
    let end: *mut c_void = field!(context, __bindgen_anon_3.optval_end);
    let length = size_of::<T>();
    if start.addr() + length > end.addr() {
        return;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "the size of a small struct"
    )]
    // SAFETY: the buffer has room for the answer. Volatile, because compilers merge the two stores to neighbours into
    // one, which the verifier refuses.
    unsafe {
        start.cast::<T>().write_unaligned(answer);
        addr_of_mut!((*context).optlen).write_volatile(length as i32);
        addr_of_mut!((*context).retval).write_volatile(0);
    }
}

#[inline(always)]
fn note(context: *mut bpf_sockopt) -> Option<SocketNote> {
    let socket = field!(context, __bindgen_anon_1.sk);
    // SAFETY: the kernel guarantees a socket in this hook; the answer is null or a live value of the map's type.
    let note: NonNull<SocketNote> = NonNull::new(unsafe {
        bpf_sk_storage_get(
            (&raw const NOTES).cast_mut().cast(),
            socket.cast(),
            null_mut(),
            NO_CREATE,
        )
        .cast()
    })?;
    // SAFETY: as above.
    let note = unsafe { *note.as_ptr() };
    (note.kind == SocketNote::ORIGINAL).then_some(note)
}
