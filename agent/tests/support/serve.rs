//! Servers that follow one another at the same address.

use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Cause, Server, ServerSpec};

/// Starts a server. A program that another test is starting holds a copy of every descriptor for a moment, that of the
/// listener before this one among them.
pub fn serve(netns: &Netns, spec: &ServerSpec) -> Server {
    let started = eventually(PATIENCE, || match Server::start(netns, spec) {
        Err(failure) if failure.cause == Cause::AddressInUse => None,
        other => Some(other),
    });
    started.unwrap().unwrap()
}
