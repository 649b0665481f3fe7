//! What Weir's socket programs share: accessors to their contexts and sockets.
#![no_std]

pub mod call;
pub mod client_port;
pub mod context;
pub mod making;
pub mod socket;
pub mod stream;
