//! Netlink requests in a pod's netns.

use std::os::fd::BorrowedFd;

use rtnetlink::Handle;
use tokio::runtime::Builder;

use super::EnrollError;
use crate::inside;

/// Runs `work` inside `netns` with a netlink socket of that namespace.
///
/// # Errors
/// [`EnrollError`] if the namespace cannot be entered, and what `work` fails with.
pub fn run<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl AsyncFnOnce(&Handle) -> Result<T, EnrollError> + Send,
) -> Result<T, EnrollError> {
    inside::run(netns, || {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(EnrollError::NetlinkSocket)?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().map_err(EnrollError::NetlinkSocket)?;
            tokio::spawn(connection);
            work(&handle).await
        })
    })?
}
