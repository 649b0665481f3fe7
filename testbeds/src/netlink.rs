//! A netlink socket of one namespace, with errors that say which object they are about.

use std::io;
use std::time::Duration;

use rtnetlink::Handle;
use tokio::task::JoinHandle;

/// Why a netlink request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket could be opened.
    #[error("cannot open a netlink socket: {0}")]
    Open(#[from] io::Error),
    /// The kernel refused a request.
    #[error("cannot {step} {object}: {source}")]
    Refused {
        /// What was tried.
        step: &'static str,
        /// The interface, address, route or rule it was tried on.
        object: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No interface has this name.
    #[error("there is no interface {0} in this namespace")]
    NoInterface(String),
    /// An interface does not get a carrier: its other end is down.
    #[error("the interface {0} has no carrier: is its other end up?")]
    NoCarrier(String),
    /// An interface's IPv6 addresses do not become usable.
    #[error("the IPv6 addresses of {0} stay tentative: is it up, and has it a carrier?")]
    Tentative(String),
}

impl Error {
    /// Whether what was to be added is there already.
    pub fn is_exists(&self) -> bool {
        self.is(nix::libc::EEXIST)
    }

    /// Whether this kernel has no driver for what was asked.
    pub fn is_unsupported(&self) -> bool {
        self.is(nix::libc::EOPNOTSUPP)
    }

    fn is(&self, code: i32) -> bool {
        matches!(self, Self::Refused { source, .. } if source.raw_os_error() == Some(code))
    }
}

/// How often a condition that the kernel brings about in the background is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(1);

/// An open netlink socket; it is closed when this is dropped.
#[derive(Debug)]
pub struct Netlink {
    pub(crate) handle: Handle,
    connection: JoinHandle<()>,
}

impl Netlink {
    /// Opens a socket in the calling thread's namespace; needs a tokio runtime.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
        })
    }

    /// The bare rtnetlink handle, for requests that have no method here.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Names the request that failed.
pub(crate) fn refused(step: &'static str, object: impl ToString) -> impl FnOnce(rtnetlink::Error) -> Error {
    move |source| Error::Refused {
        step,
        object: object.to_string(),
        source: os_error(source),
    }
}

// The library's own text of a refusal is a dump of the request.
fn os_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(answer) => answer.to_io(),
        other => io::Error::other(other),
    }
}
