//! The ZDS server, as a ztunnel at the other end of the socket sees it.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod fixtures;
mod misbehaviour;
mod overlap;
mod pods;
mod socket_file;
mod storm;
mod ztunnel;
