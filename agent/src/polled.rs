//! Descriptors whose readiness tokio tells of.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Hands a descriptor to tokio's poller.
///
/// # Errors
/// That of the kernel's, if it cannot be polled.
#[expect(
    deprecated,
    reason = "its successor is unsafe for types that may change their descriptor; ours never do"
)]
pub fn polled<T: AsRawFd>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, interest)
}
