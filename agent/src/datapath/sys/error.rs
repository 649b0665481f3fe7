//! Errors of system calls.

use std::io;

/// A system call that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{call} of {object}: {source}")]
pub struct SysError {
    /// The call, by the kernel's name.
    pub call: &'static str,
    /// What it was about.
    pub object: String,
    /// What the kernel said.
    pub source: io::Error,
}

impl SysError {
    /// The last error of this thread.
    pub(super) fn last(call: &'static str, object: impl Into<String>) -> Self {
        Self {
            call,
            object: object.into(),
            source: io::Error::last_os_error(),
        }
    }

    /// The kernel's error number.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// There is no such object.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.errno() == Some(libc::ENOENT)
    }

    /// The link is there, but what it was attached to is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.errno() == Some(libc::ENOLINK)
    }

    /// This process may not do it. `EACCES` does not count: the verifier uses it for bad programs.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.errno() == Some(libc::EPERM)
    }
}

/// A program that the kernel did not take.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}{log}", if log.is_empty() { "" } else { "; the verifier says:\n" })]
pub struct LoadError {
    /// The call.
    #[source]
    pub error: SysError,
    /// What the verifier wrote; empty when it was not asked.
    pub log: String,
}
