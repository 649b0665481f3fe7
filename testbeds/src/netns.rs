//! Anonymous network namespaces, held open by a file descriptor and by nothing else.
//!
//! Code gets inside only on threads made for it, which end there: no thread ever switches back, so no early
//! return or panic can leave one in the wrong namespace.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::netlink::{self, Netlink};
use crate::process::{self, Process};
use crate::publish::Published;

/// Why a network namespace could not be made, entered, or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a step on a namespace.
    #[error("network namespace: cannot {step}: {source} (worlds need root)")]
    Namespace {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A sysctl of the namespace could not be read or written.
    #[error("sysctl {key}: {source}")]
    Sysctl {
        /// The dotted name.
        key: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The namespace's interfaces could not be set up.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
}

/// A network namespace; clones share it, and it dies with the last of them.
///
/// The kernel also drops it when this process is killed, because no path refers to it.
#[derive(Clone, Debug)]
pub struct Netns {
    file: Arc<File>,
}

impl Netns {
    /// Makes a new namespace with `lo` up, in which IPv6 addresses are usable at once.
    pub fn new() -> Result<Self, Error> {
        let made = on_new_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(refused("make one"))?;
            // Duplicate address detection would hold every new address back for a second.
            for key in ["net.ipv6.conf.all.accept_dad", "net.ipv6.conf.default.accept_dad"] {
                std::fs::write(sysctl_path(key), "0").map_err(sysctl_failed(key))?;
            }
            Self::current()
        })?;
        made.netlink(async |link| link.up("lo").await)?;
        Ok(made)
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, Error> {
        let file = File::open("/proc/thread-self/ns/net").map_err(refused("open this thread's"))?;
        Ok(Self { file: Arc::new(file) })
    }

    /// Runs `work` inside, on a thread of its own, and hands on its result or its panic.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_new_thread(|| {
            self.enter_for_good();
            work()
        })
    }

    /// Runs asynchronous `work` inside, on a thread and a single-threaded runtime of its own.
    #[expect(
        clippy::expect_used,
        reason = "a runtime fails to build only when descriptors have run out"
    )]
    pub fn run_async<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("descriptors for a runtime").block_on(work())
        })
    }

    /// Starts a thread that lives inside until `work` ends.
    pub fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let inside = self.clone();
        thread::spawn(move || {
            inside.enter_for_good();
            work()
        })
    }

    /// Runs `work` with a netlink socket of this namespace.
    pub fn netlink<T: Send>(
        &self,
        work: impl AsyncFnOnce(Netlink) -> Result<T, netlink::Error> + Send,
    ) -> Result<T, netlink::Error> {
        self.run_async(async || work(Netlink::open()?).await)
    }

    /// Starts a process inside; the guard kills and reaps it.
    pub fn spawn(&self, command: Command) -> Result<Process, process::Error> {
        Process::start(self, command)
    }

    /// A path by which other processes of root can open the namespace, for as long as this process holds it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.file.as_raw_fd()
        ))
    }

    /// Gives the namespace a name under `/run/netns`, until the guard is dropped.
    pub fn publish(&self, name: &str) -> io::Result<Published> {
        Published::mount(self, name)
    }

    /// The inode, which with the device identifies a namespace.
    pub fn inode(&self) -> Result<u64, Error> {
        Ok(self.file.metadata().map_err(refused("stat it"))?.ino())
    }

    /// Writes a sysctl of the namespace, named with dots.
    pub fn sysctl_set(&self, key: &str, value: &str) -> Result<(), Error> {
        self.run(|| std::fs::write(sysctl_path(key), value))
            .map_err(sysctl_failed(key))
    }

    /// Reads a sysctl of the namespace, named with dots.
    pub fn sysctl_get(&self, key: &str) -> Result<String, Error> {
        let text = self
            .run(|| std::fs::read_to_string(sysctl_path(key)))
            .map_err(sysctl_failed(key))?;
        Ok(text.trim_end().to_owned())
    }

    /// Moves the calling thread, which must be one made for this, into the namespace.
    #[expect(
        clippy::expect_used,
        reason = "setns fails only without the right that made the namespace"
    )]
    pub(crate) fn enter_for_good(&self) {
        setns(self, CloneFlags::CLONE_NEWNET)
            .expect("the right to enter a network namespace (CAP_SYS_ADMIN)");
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn on_new_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn sysctl_path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(key.replace('.', "/"))
}

fn sysctl_failed(key: &str) -> impl FnOnce(io::Error) -> Error {
    let key = key.to_owned();
    move |source| Error::Sysctl { key, source }
}

fn refused<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Error {
    move |source| Error::Namespace {
        step,
        source: source.into(),
    }
}
