//! A packet as a program at the traffic control hook sees it.

use core::ptr::addr_of;

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_sock};
use aya_ebpf::programs::TcContext;
use weir_common::mark;

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, to other people's programs first.
    GoOn,
    /// It is dropped.
    Drop,
}

impl Verdict {
    /// The value the kernel expects.
    #[inline(always)]
    pub const fn code(self) -> i32 {
        match self {
            // "OK" would skip the programs that come after this one.
            Self::GoOn => TC_ACT_UNSPEC,
            Self::Drop => TC_ACT_SHOT,
        }
    }
}

/// The packet.
pub struct Packet {
    context: TcContext,
}

macro_rules! read {
    ($packet:expr, $($field:tt)+) => {
        // SAFETY: the context outlives the program, and the verifier checks the offset. Volatile, because the kernel
        // allows only the access widths that it declares.
        unsafe { addr_of!((*$packet.context.skb.skb).$($field)+).read_volatile() }
    };
}

impl Packet {
    /// Wraps the hook's context.
    #[inline(always)]
    pub const fn new(context: TcContext) -> Self {
        Self { context }
    }

    /// Copies a part of the packet, wherever the kernel keeps it; nothing if the packet is shorter.
    #[inline(always)]
    pub fn load<T: Plain>(&self, offset: u32) -> Option<T> {
        self.context.load(offset as usize).ok()
    }

    /// Our part of the mark.
    #[inline(always)]
    pub fn our_mark(&self) -> u32 {
        mark::ours(read!(self, mark))
    }

    /// Replaces our part of the mark.
    #[inline(always)]
    pub fn set_our_mark(&self, ours: u32) {
        self.context.set_mark(mark::replaced(read!(self, mark), ours));
    }

    /// Whether the packet came in by an interface, rather than from a socket here.
    #[inline(always)]
    pub fn is_forwarded(&self) -> bool {
        read!(self, ingress_ifindex) != 0
    }

    /// The socket that sent the packet; null if there is none. Helpers take it, nobody else may look into it.
    #[inline(always)]
    pub fn socket(&self) -> *mut bpf_sock {
        read!(self, __bindgen_anon_2.sk)
    }

    /// The context, as helpers take it.
    #[inline(always)]
    pub fn helper_context(&self) -> *mut aya_ebpf::bindings::__sk_buff {
        self.context.skb.skb
    }
}

/// Types that any bytes of a packet are a value of.
pub trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for u16 {}
impl<T: Plain, const N: usize> Plain for [T; N] {}
impl Plain for u32 {}
