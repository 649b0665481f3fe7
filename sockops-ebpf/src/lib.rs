//! What Weir's socket programs share: accessors to their contexts and sockets.
#![no_std]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::macro_metavars_in_unsafe,
    reason = "the programs' own macros; only names of fields get into the unsafe block"
)]

pub mod call;
pub mod client_port;
pub mod context;
pub mod making;
pub mod socket;
pub mod stream;
