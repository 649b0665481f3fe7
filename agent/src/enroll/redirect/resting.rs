//! Connections that are over, in ztunnel's namespace.
//!
//! A client uses a port again while the kernel still keeps the last connection from it in TIME_WAIT. Where the kernel
//! finds the listener by itself, it lets go of the old connection for the new one. A SYN for which `ztunnel_in` has
//! chosen the listener it takes for a duplicate and drops, until a minute is over, and programs can end no such
//! connection. So there none is kept.

use std::os::fd::BorrowedFd;

use crate::enroll::EnrollError;
use crate::inside::{self, read_sysctl, write_sysctl};

const KEPT: &str = "net.ipv4.tcp_max_tw_buckets";
const NONE: &str = "0";

/// Keeps none, in the namespace that the calling thread is in.
pub(super) fn keep_none() -> Result<(), EnrollError> {
    write(NONE)
}

/// Keeps as many again as the node does, which is what new namespaces begin with. A number that is somebody else's
/// choice is left alone.
pub(super) fn keep_again(netns: BorrowedFd<'_>, host: BorrowedFd<'_>) -> Result<(), EnrollError> {
    let usual = inside::run(host, read)??;
    inside::run(netns, || if read()? == NONE { write(&usual) } else { Ok(()) })?
}

fn read() -> Result<String, EnrollError> {
    read_sysctl(KEPT).map_err(|source| EnrollError::Sysctl { name: KEPT, source })
}

fn write(value: &str) -> Result<(), EnrollError> {
    write_sysctl(KEPT, value).map_err(|source| EnrollError::Sysctl { name: KEPT, source })
}
