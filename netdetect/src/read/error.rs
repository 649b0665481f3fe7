//! Why facts could not be read.

use std::io;

/// Facts could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A descriptor is no open namespace.
    #[error("network namespace: {0}")]
    Identify(io::Error),
    /// The namespace cannot be entered.
    #[error("network namespace: cannot enter it: {0} (it takes CAP_SYS_ADMIN)")]
    Enter(nix::errno::Errno),
    /// No netlink socket can be made.
    #[error("netlink socket: {0}")]
    Socket(io::Error),
    /// The kernel refused a request.
    #[error("cannot {step}: {source}")]
    Netlink {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl ReadError {
    /// Names the request that failed. The library's own text of a refusal is a dump of the request.
    pub(crate) fn netlink(step: &'static str) -> impl FnOnce(rtnetlink::Error) -> Self {
        move |error| Self::Netlink {
            step,
            source: match error {
                rtnetlink::Error::NetlinkError(answer) => answer.to_io(),
                other => io::Error::other(other),
            },
        }
    }
}
