//! What a redirector and a node agent see of the stand-in; with `WEIR_ZTUNNEL`, most of it of a real ztunnel.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails here fails the test"
)]

mod agent;
mod chain;
mod dns;
mod in_pod;
mod listeners;
mod node;
mod peers;
mod session;
mod sockets;
