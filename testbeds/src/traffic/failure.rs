//! Why traffic did not flow: a step and a cause that tests can match on.

use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// A step of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Making the socket and setting its options.
    Prepare,
    /// Binding it to its address or device.
    Bind,
    /// Listening.
    Listen,
    /// Connecting.
    Connect,
    /// Reading the server's greeting.
    Greeting,
    /// Sending.
    Send,
    /// Receiving.
    Receive,
}

/// What ended a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nobody listens there.
    Refused,
    /// The peer, or something that spoke for it, reset the connection.
    Reset,
    /// The peer closed the connection too early.
    Closed,
    /// No answer before the deadline.
    TimedOut,
    /// Forbidden, as by a BPF program that returned EPERM.
    NotPermitted,
    /// There is no way to the destination.
    Unreachable,
    /// The address is taken.
    AddressInUse,
    /// The address is not this host's.
    AddressNotAvailable,
    /// The answer was not what the protocol says.
    Malformed,
    /// The bytes that came back are not those that were sent.
    Altered,
    /// Another error of the operating system.
    Other(i32),
}

/// Traffic that did not flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step:?} with {address}: {cause:?}")]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// The address it was about.
    pub address: SocketAddr,
    /// The reason.
    pub cause: Cause,
}

impl Failure {
    pub(crate) fn new(step: Step, address: SocketAddr, cause: Cause) -> Self {
        Self { step, address, cause }
    }

    /// For `map_err` on a step.
    pub(crate) fn at(step: Step, address: SocketAddr) -> impl Fn(io::Error) -> Self {
        move |error| Self::new(step, address, Cause::from(&error))
    }
}

impl From<&io::Error> for Cause {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => return Self::Closed,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => return Self::TimedOut,
            io::ErrorKind::InvalidData => return Self::Malformed,
            _ => {}
        }
        let code = error.raw_os_error().unwrap_or_default();
        match Errno::from_raw(code) {
            Errno::ECONNREFUSED => Self::Refused,
            Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED => Self::Reset,
            // A blocking connect reports its send timeout as EINPROGRESS, as EALREADY one that a signal interrupted.
            Errno::EINPROGRESS | Errno::EALREADY => Self::TimedOut,
            Errno::EPERM | Errno::EACCES => Self::NotPermitted,
            Errno::EHOSTUNREACH | Errno::ENETUNREACH => Self::Unreachable,
            Errno::EADDRINUSE => Self::AddressInUse,
            Errno::EADDRNOTAVAIL => Self::AddressNotAvailable,
            _ => Self::Other(code),
        }
    }
}
