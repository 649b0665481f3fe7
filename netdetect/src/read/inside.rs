//! Netlink inside a network namespace, on threads that are made for it and end there: no thread ever switches back, so
//! none can be left in the wrong namespace.

use std::os::fd::BorrowedFd;
use std::panic::resume_unwind;
use std::thread;

use nix::sched::{CloneFlags, setns};
use rtnetlink::Handle;
use tokio::runtime::Builder;

use super::ReadError;

/// Runs `work` inside `netns` with a netlink socket of that namespace.
pub(crate) fn run<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl AsyncFnOnce(&Handle) -> Result<T, ReadError> + Send,
) -> Result<T, ReadError> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).map_err(ReadError::Enter)?;
            block_on(work)
        });
        inside.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn block_on<T>(work: impl AsyncFnOnce(&Handle) -> Result<T, ReadError>) -> Result<T, ReadError> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(ReadError::Socket)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(ReadError::Socket)?;
        tokio::spawn(connection);
        work(&handle).await
    })
}
