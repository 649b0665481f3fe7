//! A TCP socket as a `sock_ops` program sees it.

use core::ptr::{NonNull, from_mut, null_mut};

use aya_ebpf::bindings::{BPF_SOCK_OPS_STATE_CB_FLAG, bpf_sock};
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_sk_storage_get};
use aya_ebpf::programs::SockOpsContext;
use weir_common::address::Address;
use weir_common::flow::{Flow, SocketNote};

use weir_ebpf_shared::account::Connection;
use weir_ebpf_shared::maps::NOTES;

/// Reads the note or nothing (no flag), or makes it (`BPF_SK_STORAGE_GET_F_CREATE`).
const NO_CREATE: u64 = 0;
const CREATE: u64 = 1;

/// The socket and what the kernel says happens to it.
pub struct Stream {
    context: SockOpsContext,
}

macro_rules! read {
    ($stream:expr, $($field:tt)+) => { $crate::read_field!($stream.context.ops, $($field)+) };
}

impl Stream {
    /// Wraps the hook's context.
    #[inline(always)]
    pub const fn new(context: SockOpsContext) -> Self {
        Self { context }
    }

    /// What happens.
    #[inline(always)]
    pub fn operation(&self) -> u32 {
        read!(self, op)
    }

    /// The state that the socket goes to, in a state callback.
    #[inline(always)]
    pub fn new_state(&self) -> u32 {
        read!(self, __bindgen_anon_1.args[1])
    }

    /// Cookie of the socket's network namespace.
    #[inline(always)]
    pub fn netns(&self) -> u64 {
        // SAFETY: the context is the one that the kernel passed.
        unsafe { bpf_get_netns_cookie(self.context.ops.cast()) }
    }

    /// The socket, if it is a full one.
    #[inline(always)]
    pub fn socket(&self) -> Option<NonNull<bpf_sock>> {
        NonNull::new(read!(self, __bindgen_anon_2.sk))
    }

    /// The socket's mark; 0 where there is no full socket.
    #[inline(always)]
    pub fn mark(&self) -> u32 {
        // SAFETY: the pointer is checked; the verifier checks the field.
        self.socket()
            .map_or(0, |socket| unsafe { (*socket.as_ptr()).mark })
    }

    /// The local address and port.
    #[inline(always)]
    pub fn local(&self) -> (Address, u16) {
        let address = crate::read_address!(self.context.ops, local_ip4, local_ip6);
        #[expect(clippy::cast_possible_truncation, reason = "a port in host byte order")]
        (address, read!(self, local_port) as u16)
    }

    /// The remote address and port.
    #[inline(always)]
    pub fn remote(&self) -> (Address, u16) {
        let address = crate::read_address!(self.context.ops, remote_ip4, remote_ip6);
        // The kernel keeps this one in network byte order, as a whole word.
        #[expect(clippy::cast_possible_truncation, reason = "a port after the swap")]
        (address, u32::from_be(read!(self, remote_port)) as u16)
    }

    /// The connection as its destination receives it.
    #[inline(always)]
    pub fn flow(&self, netns: u64) -> Flow {
        let (source, source_port) = self.local();
        let (destination, destination_port) = self.remote();
        Flow {
            netns,
            source,
            destination,
            source_port,
            destination_port,
            reserved: 0,
        }
    }

    /// The connection as the accounting wants it.
    #[inline(always)]
    pub fn connection(&self, netns: u64) -> Connection {
        let (source, source_port) = self.local();
        let (destination, destination_port) = self.remote();
        Connection {
            netns,
            process: 0,
            source,
            source_port,
            destination,
            destination_port,
        }
    }

    /// What the socket has to be remembered for.
    #[inline(always)]
    pub fn note(&self) -> Option<SocketNote> {
        let note = self.stored(null_mut(), NO_CREATE)?;
        // SAFETY: a live value of the map's type.
        Some(unsafe { *note.as_ptr() })
    }

    /// Notes on the socket what it has to be remembered for.
    #[inline(always)]
    pub fn set_note(&self, note: SocketNote) -> bool {
        let mut initial = note;
        let Some(stored) = self.stored(from_mut(&mut initial), CREATE) else {
            return false;
        };
        // SAFETY: a live value that only this socket's owner writes; it may have been there before.
        unsafe { *stored.as_ptr() = note };
        true
    }

    #[inline(always)]
    fn stored(&self, initial: *mut SocketNote, flags: u64) -> Option<NonNull<SocketNote>> {
        let socket = self.socket()?;
        // SAFETY: the socket is checked; the helper copies the initial value and answers null or a live value.
        NonNull::new(unsafe {
            bpf_sk_storage_get(
                (&raw const NOTES).cast_mut().cast(),
                socket.as_ptr().cast(),
                initial.cast(),
                flags,
            )
            .cast()
        })
    }

    /// A number that no other socket of the machine ever has.
    #[inline(always)]
    pub fn cookie(&self) -> u64 {
        // SAFETY: the context is the one that the kernel passed.
        unsafe { bpf_get_socket_cookie(self.context.ops.cast()) }
    }

    /// Asks the kernel to tell when the socket's state changes.
    #[inline(always)]
    pub fn watch_state(&self) {
        let flags = read!(self, bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG;
        #[expect(clippy::cast_possible_wrap, reason = "a set of a few low bits")]
        // It fails only for sockets that are not full, which never get here.
        self.context.set_cb_flags(flags as i32).ok();
    }

    /// The context, as helpers that act on the socket take it.
    #[inline(always)]
    pub fn helper_context(&self) -> *mut core::ffi::c_void {
        self.context.ops.cast()
    }
}
