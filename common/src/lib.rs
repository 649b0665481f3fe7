//! Types, names and reasons that Weir's kernel and user side share.
//!
//! Everything here is `no_std` and `repr(C)`; a change of a struct's layout is a change of
//! [`names::LAYOUT_VERSION`], which is part of every pin path.
#![no_std]

pub mod names;
pub mod reason;
