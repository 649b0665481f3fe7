//! A system call on a socket address (connect, bind, sendmsg…), the same for both families.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_get_netns_cookie};
use aya_ebpf::programs::SockAddrContext;
use weir_common::address::Address;
use weir_common::flow::SocketNote;
use weir_common::node::NodeSettings;

use weir_common::reason::Reason;
use weir_ebpf_shared::account::{Connection, TurnedTo, account_turned};
use weir_ebpf_shared::maps::{NOTES, node};

const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_MPTCP: u32 = 262;

/// What the kernel is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The call fails with EPERM.
    Refuse,
    /// The call goes on.
    Allow,
}

impl Answer {
    /// The value the kernel expects.
    #[inline(always)]
    pub const fn code(self) -> i32 {
        match self {
            Self::Refuse => 0,
            Self::Allow => 1,
        }
    }
}

/// Family of the address in the call, which is the family of the hook. A v6 call may still name a mapped v4 address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `connect4` and its like.
    V4,
    /// `connect6` and its like.
    V6,
}

/// The call.
pub struct Call {
    context: SockAddrContext,
    family: Family,
}

macro_rules! read {
    ($call:expr, $($field:tt)+) => { $crate::read_field!($call.context.sock_addr, $($field)+) };
}

macro_rules! write {
    ($call:expr, $value:expr, $($field:tt)+) => {
        // SAFETY: as for reading.
        unsafe { addr_of_mut!((*$call.context.sock_addr).$($field)+).write_volatile($value) }
    };
}

impl Call {
    /// Wraps the context of a hook of `family`.
    #[inline(always)]
    pub const fn new(context: SockAddrContext, family: Family) -> Self {
        Self { context, family }
    }

    /// TCP, or MPTCP, whose first subflow is TCP.
    #[inline(always)]
    pub fn is_tcp(&self) -> bool {
        let protocol = read!(self, protocol);
        read!(self, type_) == SOCK_STREAM && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP)
    }

    /// UDP.
    #[inline(always)]
    pub fn is_udp(&self) -> bool {
        read!(self, type_) == SOCK_DGRAM && read!(self, protocol) == IPPROTO_UDP
    }

    /// Cookie of the network namespace that the socket was made in.
    #[inline(always)]
    pub fn netns(&self) -> u64 {
        // SAFETY: the context is the one that the kernel passed.
        unsafe { bpf_get_netns_cookie(self.context.sock_addr.cast()) }
    }

    /// The address in the call.
    #[inline(always)]
    pub fn address(&self) -> Address {
        match self.family {
            Family::V4 => Address::from_v4(read!(self, user_ip4)),
            Family::V6 => Address {
                words: [
                    read!(self, user_ip6[0]),
                    read!(self, user_ip6[1]),
                    read!(self, user_ip6[2]),
                    read!(self, user_ip6[3]),
                ],
            },
        }
    }

    /// The port in the call, in host byte order.
    #[inline(always)]
    pub fn port(&self) -> u16 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the kernel keeps the port in the low half"
        )]
        let port = read!(self, user_port) as u16;
        u16::from_be(port)
    }

    /// Replaces the address. An IPv4 hook can take only IPv4 addresses; callers keep the family they read.
    #[inline(always)]
    pub fn set_address(&self, address: Address) {
        match self.family {
            Family::V4 => write!(self, address.words[3], user_ip4),
            Family::V6 => {
                write!(self, address.words[0], user_ip6[0]);
                write!(self, address.words[1], user_ip6[1]);
                write!(self, address.words[2], user_ip6[2]);
                write!(self, address.words[3], user_ip6[3]);
            }
        }
    }

    /// Replaces the port.
    #[inline(always)]
    pub fn set_port(&self, port: u16) {
        write!(self, u32::from(port.to_be()), user_port);
    }

    /// The socket.
    #[inline(always)]
    pub fn socket(&self) -> *mut bpf_sock {
        // SAFETY: as for reading a field.
        unsafe { addr_of!((*self.context.sock_addr).__bindgen_anon_1.sk).read_volatile() }
    }

    /// The context, as helpers that act on the call's socket take it.
    #[inline(always)]
    pub fn helper_context(&self) -> *mut core::ffi::c_void {
        self.context.sock_addr.cast()
    }

    /// The call as the accounting wants it; the kernel has not chosen the source yet.
    #[inline(always)]
    pub fn connection(&self, netns: u64) -> Connection {
        // SAFETY: the helper takes nothing and always succeeds.
        let process = || unsafe { bpf_get_current_pid_tgid() } >> 32;
        let is_told = node().has(NodeSettings::TRACE);
        Connection {
            netns,
            process: if is_told { process() as u32 } else { 0 },
            source: Address { words: [0; 4] },
            source_port: 0,
            destination: self.address(),
            destination_port: self.port(),
        }
    }

    /// Counts why the call goes where it goes now, and tells it to who listens; `asked` is from before.
    #[inline(always)]
    pub fn account(&self, asked: &Connection, reason: Reason) {
        let (address, port) = (self.address(), self.port());
        let is_turned = address != asked.destination || port != asked.destination_port;
        account_turned(asked, reason, is_turned.then_some(TurnedTo { address, port }));
    }

    /// Notes on the socket why it has to be remembered.
    #[inline(always)]
    pub fn set_note(&self, note: SocketNote) -> bool {
        let mut initial = note;
        // SAFETY: the map copies the initial value; the pointer is null or a live value that only this socket's
        // owner writes.
        unsafe {
            let stored = NOTES.get_or_insert_ptr_mut(&self.context, Some(&mut initial));
            if stored.is_null() {
                return false;
            }
            *stored = note;
        }
        true
    }

    /// The socket's note, if it has one.
    #[inline(always)]
    pub fn note(&self) -> Option<SocketNote> {
        // SAFETY: the pointer is null or a live value.
        unsafe {
            let stored = NOTES.get_ptr_mut(&self.context);
            if stored.is_null() { None } else { Some(*stored) }
        }
    }
}
