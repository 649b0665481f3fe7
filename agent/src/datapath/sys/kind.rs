//! The kernel's numbers for types of programs, attachments and maps.

use std::fmt;

macro_rules! kinds {
    ($(#[$meta:meta])* $kind:ident { $($constant:ident = $number:literal $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $kind(pub u32);

        impl $kind {
            $(#[doc = concat!("`", $name, "`")] pub const $constant: Self = Self($number);)+

            /// Its name, if it is one that Weir knows.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($name),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "type {}", self.0),
                }
            }
        }
    };
}

kinds! {
    /// A type of program (`BPF_PROG_TYPE_…`); the kernel may have more than have names here.
    ProgramType {
        SCHED_CLS = 3 "sched_cls",
        CGROUP_SKB = 8 "cgroup_skb",
        SOCK_OPS = 13 "sock_ops",
        SK_MSG = 16 "sk_msg",
        SOCK_ADDR = 18 "sock_addr",
        SOCKOPT = 25 "sockopt",
        SK_LOOKUP = 30 "sk_lookup",
    }
}

kinds! {
    /// Where a program is attached (`BPF_CGROUP_…`, `BPF_TCX_…`, …).
    AttachType {
        SOCK_OPS = 3 "sock_ops",
        SK_MSG = 7 "sk_msg",
        BIND4 = 8 "bind4",
        BIND6 = 9 "bind6",
        CONNECT4 = 10 "connect4",
        CONNECT6 = 11 "connect6",
        SENDMSG4 = 14 "sendmsg4",
        SENDMSG6 = 15 "sendmsg6",
        RECVMSG4 = 19 "recvmsg4",
        RECVMSG6 = 20 "recvmsg6",
        GETSOCKOPT = 21 "getsockopt",
        GETPEERNAME4 = 29 "getpeername4",
        GETPEERNAME6 = 30 "getpeername6",
        SK_LOOKUP = 36 "sk_lookup",
        TCX_INGRESS = 46 "tcx_ingress",
        TCX_EGRESS = 47 "tcx_egress",
    }
}

kinds! {
    /// A type of map (`BPF_MAP_TYPE_…`).
    MapType {
        HASH = 1 "hash",
        ARRAY = 2 "array",
        PERCPU_HASH = 5 "percpu_hash",
        PERCPU_ARRAY = 6 "percpu_array",
        LRU_HASH = 9 "lru_hash",
        LRU_PERCPU_HASH = 10 "lru_percpu_hash",
        LPM_TRIE = 11 "lpm_trie",
        SOCKMAP = 15 "sockmap",
        SOCKHASH = 18 "sockhash",
        PERCPU_CGROUP_STORAGE = 21 "percpu_cgroup_storage",
        SK_STORAGE = 24 "sk_storage",
        RINGBUF = 27 "ringbuf",
    }
}

impl MapType {
    /// Whether user space sees one value per possible CPU.
    #[must_use]
    pub const fn is_per_cpu(self) -> bool {
        matches!(
            self,
            Self::PERCPU_HASH | Self::PERCPU_ARRAY | Self::LRU_PERCPU_HASH | Self::PERCPU_CGROUP_STORAGE
        )
    }
}
