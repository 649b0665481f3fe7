//! Work inside a pod's network namespace, on threads that are made for it and end there: no thread ever switches
//! back, so none can be left in the wrong namespace.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use tokio::sync::oneshot;

use crate::datapath::sys;

/// Why work inside a namespace could not begin.
#[derive(Debug, thiserror::Error)]
#[error("network namespace: cannot {step}: {source}")]
pub struct InsideError {
    step: &'static str,
    source: io::Error,
}

impl InsideError {
    fn at<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self {
            step,
            source: source.into(),
        }
    }
}

/// Runs `work` inside `netns`.
///
/// # Errors
/// [`InsideError`] if the namespace cannot be entered; `work` has not run then.
pub fn run<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, InsideError> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).map_err(InsideError::at("enter it (CAP_SYS_ADMIN)"))?;
            Ok(work())
        });
        inside.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// The same for those who must not block.
///
/// # Errors
/// As [`run`]; also if `work` panics.
pub async fn visit<T: Send + 'static>(
    netns: Arc<OwnedFd>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InsideError> {
    let (answer, answered) = oneshot::channel();
    let inside = move || {
        let entered = setns(&*netns, CloneFlags::CLONE_NEWNET);
        let done = entered
            .map_err(InsideError::at("enter it (CAP_SYS_ADMIN)"))
            .map(|()| work());
        // Whoever asked may have given up.
        answer.send(done).ok();
    };
    thread::Builder::new()
        .name("inside".to_owned())
        .spawn(inside)
        .map_err(InsideError::at("make a thread for it"))?;
    let panicked = |_| InsideError::at("work in it")(io::Error::other("a panic, which the log has"));
    answered.await.unwrap_or_else(|error| Err(panicked(error)))
}

/// The cookie by which the kernel side knows the namespace.
///
/// # Errors
/// [`InsideError`] if the namespace cannot be entered or the kernel has no cookies (before 5.14).
pub fn cookie(netns: BorrowedFd<'_>) -> Result<u64, InsideError> {
    run(netns, current_cookie)?
}

/// The cookie of the namespace that the calling thread is in.
///
/// # Errors
/// [`InsideError`] if the kernel has no cookies.
pub fn current_cookie() -> Result<u64, InsideError> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(InsideError::at("make a socket in it"))?;
    sys::netns_cookie(socket.as_fd()).map_err(|error| InsideError {
        step: "read its cookie (kernel 5.14)",
        source: error.source,
    })
}

/// Reads a sysctl of the namespace that the calling thread is in.
///
/// # Errors
/// The file's.
pub fn read_sysctl(name: &str) -> io::Result<String> {
    Ok(fs::read_to_string(sysctl_path(name))?.trim_end().to_owned())
}

/// Writes a sysctl of the namespace that the calling thread is in.
///
/// # Errors
/// The file's.
pub fn write_sysctl(name: &str, value: &str) -> io::Result<()> {
    fs::write(sysctl_path(name), value)
}

fn sysctl_path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}
