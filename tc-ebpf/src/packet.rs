//! A packet as a program at the traffic control hook sees it.

use core::ptr::addr_of;

use aya_ebpf::bindings::{BPF_F_INGRESS, TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_sock};
use aya_ebpf::helpers::generated::{bpf_redirect, bpf_redirect_peer, bpf_sk_fullsock, bpf_skb_change_type};
use aya_ebpf::programs::TcContext;
use weir_common::mark;

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, to other people's programs first.
    GoOn,
    /// It is dropped.
    Drop,
    /// It leaves by another interface, which the packet has been told.
    Redirect,
}

/// Headers begin within so many bytes; the verifier wants a limit.
const FURTHEST: u32 = 0x7fff;
/// A packet that is for this host.
const FOR_HOST: u32 = 0;

impl Verdict {
    /// The value the kernel expects.
    #[inline(always)]
    pub const fn code(self) -> i32 {
        match self {
            // "OK" would skip the programs that come after this one.
            Self::GoOn => TC_ACT_UNSPEC,
            Self::Drop => TC_ACT_SHOT,
            Self::Redirect => TC_ACT_REDIRECT,
        }
    }
}

/// The packet.
pub struct Packet {
    context: TcContext,
    /// Whether headers are read where they are.
    in_place: bool,
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
        let in_place = false;
        Self { context, in_place }
    }

    /// The same for programs that are loaded once per node: they read headers where they are, which is quicker, and takes
    /// the verifier ten times as long.
    #[inline(always)]
    pub const fn in_place(context: TcContext) -> Self {
        let in_place = true;
        Self { context, in_place }
    }

    /// Copies a part of the packet, wherever the kernel keeps it; nothing if the packet is shorter.
    #[inline(always)]
    pub fn load<T: Plain>(&self, offset: u32) -> Option<T> {
        self.context.load(offset as usize).ok()
    }

    /// The same, in place if the program does so and the header is where headers are as a rule. The verifier follows both
    /// ways on from each use.
    #[inline(always)]
    pub fn header<T: Plain>(&self, offset: u32) -> Option<T> {
        if !self.in_place {
            return self.load(offset);
        }
        self.at_hand(offset).or_else(|| self.load(offset))
    }

    #[inline(always)]
    fn at_hand<T: Plain>(&self, offset: u32) -> Option<T> {
        // How a lone byte is compared with the end the verifier does not follow.
        if offset > FURTHEST || size_of::<T>() == 1 {
            return None;
        }
        let part = self.context.data() + offset as usize;
        if part + size_of::<T>() > self.context.data_end() {
            return None;
        }
        // SAFETY: the part is within the packet, as the verifier makes sure. Either the kernel aligns headers or the
        // machine reads words wherever they are.
        Some(unsafe { (part as *const T).read() })
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

    /// Index of the interface that the program runs at.
    #[inline(always)]
    pub fn interface(&self) -> u32 {
        read!(self, ifindex)
    }

    /// Replaces the frame's Ethernet addresses; says whether that was possible.
    #[inline(always)]
    pub fn address_frame(&self, destination: [u8; 6], source: [u8; 6]) -> bool {
        let addresses = [halves(destination), halves(source)];
        let frame = self.context.data();
        if frame + size_of_val(&addresses) > self.context.data_end() {
            return false;
        }
        // SAFETY: the place is within the packet, as the verifier makes sure; where others share its bytes, the kernel
        // has given the packet bytes of its own before the program began.
        unsafe { (frame as *mut [[u16; 3]; 2]).write(addresses) };
        true
    }

    /// Hands the packet to what is behind `interface`, as if it had come in there. To the kernel's eye it was perhaps
    /// not for this host.
    #[inline(always)]
    pub fn enter_behind(&self, interface: u32) -> Verdict {
        if read!(self, pkt_type) != FOR_HOST {
            // SAFETY: the context is the kernel's; the type is one that programs may set.
            unsafe { bpf_skb_change_type(self.helper_context(), FOR_HOST) };
        }
        // SAFETY: the helper only notes where to; an interface that is gone means that the packet is dropped.
        unsafe { bpf_redirect_peer(interface, 0) };
        Verdict::Redirect
    }

    /// Sends the packet out by `interface`.
    #[inline(always)]
    pub fn leave_by(&self, interface: u32) -> Verdict {
        // SAFETY: the helper only notes where to; an interface that is gone means that the packet is dropped.
        unsafe { bpf_redirect(interface, 0) };
        Verdict::Redirect
    }

    /// Takes the packet in by `interface`, as if it had just arrived there.
    #[inline(always)]
    pub fn arrive_at(&self, interface: u32) -> Verdict {
        // SAFETY: as above.
        unsafe { bpf_redirect(interface, u64::from(BPF_F_INGRESS)) };
        Verdict::Redirect
    }

    /// The socket that sent the packet, if there is one and it is a full one.
    #[inline(always)]
    pub fn full_socket(&self) -> Option<*mut bpf_sock> {
        let socket: *mut bpf_sock = read!(self, __bindgen_anon_2.sk);
        if socket.is_null() {
            return None;
        }
        // SAFETY: the pointer is checked; the helper answers null for sockets that are not full ones.
        let socket = unsafe { bpf_sk_fullsock(socket) };
        if socket.is_null() { None } else { Some(socket) }
    }

    /// The context, as helpers take it.
    #[inline(always)]
    pub fn helper_context(&self) -> *mut aya_ebpf::bindings::__sk_buff {
        self.context.skb.skb
    }
}

/// In the units that an Ethernet address is aligned to.
#[inline(always)]
const fn halves([a, b, c, d, e, f]: [u8; 6]) -> [u16; 3] {
    [
        u16::from_ne_bytes([a, b]),
        u16::from_ne_bytes([c, d]),
        u16::from_ne_bytes([e, f]),
    ]
}

/// Types that any bytes of a packet are a value of.
pub trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for u16 {}
impl<T: Plain, const N: usize> Plain for [T; N] {}
impl Plain for u32 {}
