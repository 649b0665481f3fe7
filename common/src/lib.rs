//! Types, names and reasons that Weir's kernel and user side share.
//!
//! Everything here is `no_std` and `repr(C)`; a change of a struct's layout is a change of
//! [`names::LAYOUT_VERSION`], which is part of every pin path.
#![no_std]

pub mod address;
pub mod claim;
pub mod detour;
pub mod event;
pub mod filter;
pub mod flow;
pub mod given_ports;
pub mod interface;
pub mod listener;
pub mod local_pod;
pub mod mark;
pub mod names;
pub mod node;
pub mod pod;
pub mod ports;
pub mod reason;
pub mod tag;
pub mod ztunnel;

/// Declares that the user side may copy a struct to and from the kernel as bytes.
macro_rules! shared {
    ($($name:ty),+ $(,)?) => {
        $(
            // SAFETY: the struct is `repr(C)`, has no padding (its size is pinned by a test) and no invalid bit patterns.
            #[cfg(feature = "user")]
            unsafe impl aya::Pod for $name {}
        )+
    };
}
pub(crate) use shared;
