//! What Weir's programs at the traffic control hook share.
#![no_std]

pub mod packet;
pub mod parse;
pub mod socket;

pub use packet::Packet;
