//! The socket path of the node contract: pods on macvlan, whose connections are turned to ztunnel's address.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod limits;
mod paths;
mod scene;
