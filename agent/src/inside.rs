//! Work inside a pod's network namespace, on threads that do nothing else: each enters the namespace before it does
//! anything, so none can ever work in the wrong one.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt as _;
use std::panic::resume_unwind;
use std::sync::{Arc, LazyLock};
use std::thread;

use nix::fcntl::{OFlag, open, openat};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, fstat};

use tokio::runtime::{Builder, Runtime};

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

/// Runs `work` inside `netns`: on a thread that is made for it, unless this one is there on a [`visit`].
///
/// # Errors
/// [`InsideError`] if the namespace cannot be entered; `work` has not run then.
pub fn run<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, InsideError> {
    if Visit::is_in(netns)? {
        return Ok(work());
    }
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).map_err(InsideError::at(ENTER))?;
            Ok(work())
        });
        inside.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// The same for those who must not block, and for several steps in one namespace: what `work` does with [`run`] in this
/// namespace is done right there.
///
/// # Errors
/// As [`run`]; also if `work` panics.
pub async fn visit<T: Send + 'static>(
    netns: Arc<OwnedFd>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InsideError> {
    let visitors = match &*VISITORS {
        Ok(visitors) => visitors,
        Err(error) => {
            return Err(InsideError::at("have threads for it")(io::Error::from(
                error.kind(),
            )));
        }
    };
    let visiting = visitors.threads.spawn_blocking(move || {
        let _visit = Visit::begin(&visitors.home, netns.as_fd())?;
        Ok(work())
    });
    let panicked = || InsideError::at("work in it")(io::Error::other("a panic, which the log has"));
    visiting.await.unwrap_or_else(|_| Err(panicked()))
}

const ENTER: &str = "enter it (CAP_SYS_ADMIN)";
/// As many as there are CPUs: more would wait for each other in the kernel, and each would be woken for a single visit.
/// But never so few that one who waits there holds up all, and never more than a few.
const VISITORS_AT_ONCE: RangeInclusive<usize> = 2..=16;

/// Threads that go from namespace to namespace: to make one for each visit takes longer than most visits.
struct Visitors {
    threads: Runtime,
    home: File,
}

static VISITORS: LazyLock<io::Result<Visitors>> = LazyLock::new(|| {
    let least = *VISITORS_AT_ONCE.start();
    // A node that does not tell its CPUs is one that pods run on all the same.
    let cpus = thread::available_parallelism().map_or(least, NonZero::get);
    let threads = Builder::new_current_thread()
        .thread_name("inside")
        .max_blocking_threads(cpus.clamp(least, *VISITORS_AT_ONCE.end()))
        .build()?;
    let home = File::open("/proc/self/ns/net")?;
    Ok(Visitors { threads, home })
});

thread_local! {
    /// The descriptor of the namespace that the thread visits; it is open for as long as the visit lasts.
    static VISITED: Cell<Option<RawFd>> = const { Cell::new(None) };
}

/// A visit of the calling thread; it is over when this is dropped.
struct Visit<'a> {
    home: &'a File,
    _bound_to_its_thread: PhantomData<*const ()>,
}

impl<'a> Visit<'a> {
    fn begin(home: &'a File, netns: BorrowedFd<'_>) -> Result<Self, InsideError> {
        setns(netns, CloneFlags::CLONE_NEWNET).map_err(InsideError::at(ENTER))?;
        VISITED.set(Some(netns.as_raw_fd()));
        Ok(Self {
            home,
            _bound_to_its_thread: PhantomData,
        })
    }

    fn is_in(netns: BorrowedFd<'_>) -> Result<bool, InsideError> {
        match VISITED.get() {
            None => Ok(false),
            Some(visited) if visited == netns.as_raw_fd() => Ok(true),
            Some(_) => Ok(identity(Self::current()?.as_fd())? == identity(netns)?),
        }
    }

    fn current() -> Result<File, InsideError> {
        File::open("/proc/thread-self/ns/net").map_err(InsideError::at("tell which one this thread is in"))
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        VISITED.set(None);
        // Only so that a pod's namespace does not outlive the pod. A thread that cannot leave does nothing in there: its
        // next visit begins by entering another.
        setns(self.home, CloneFlags::CLONE_NEWNET).ok();
    }
}

fn identity(netns: BorrowedFd<'_>) -> Result<(u64, u64), InsideError> {
    let stat = fstat(netns).map_err(InsideError::at("identify it"))?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The cookie by which the kernel side knows the namespace.
///
/// # Errors
/// [`InsideError`] if the namespace cannot be entered or the kernel has no cookies (before 5.14).
pub fn cookie(netns: BorrowedFd<'_>) -> Result<u64, InsideError> {
    run(netns, current_cookie)?
}

/// The same without entering it, where [`tells_cookies`] says that it can be had so. Nothing if it is no network
/// namespace.
#[must_use]
pub fn told_cookie(netns: BorrowedFd<'_>) -> Option<u64> {
    sys::netns_id(netns).ok().flatten()
}

/// Whether the kernel tells a namespace's number, and that is its cookie (6.18). It is tried in a namespace made for it:
/// those of the first one may be the same by chance.
#[must_use]
pub fn tells_cookies() -> bool {
    let compare = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(InsideError::at("make one to try it"))?;
        Ok::<_, InsideError>(told_cookie(Visit::current()?.as_fd()) == Some(current_cookie()?))
    };
    let compared = thread::scope(|scope| scope.spawn(compare).join());
    matches!(compared, Ok(Ok(true)))
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
        step: "read its cookie (Weir needs Linux 5.15 or newer)",
        source: error.source,
    })
}

/// Reads a sysctl of the namespace that the calling thread is in.
///
/// # Errors
/// The file's.
pub fn read_sysctl(name: &str) -> io::Result<String> {
    Sysctls::default().read(name)
}

/// Writes a sysctl of the namespace that the calling thread is in.
///
/// # Errors
/// The file's.
pub fn write_sysctl(name: &str, value: &str) -> io::Result<()> {
    Sysctls::default().open(name)?.write(value)
}

/// Several sysctls of the namespace that the calling thread is in. Directories are found once: the kernel's cache of
/// names keeps those of all namespaces, which are called the same, in one row, and looks through it each time.
#[derive(Debug, Default)]
pub struct Sysctls {
    directories: Vec<(String, OwnedFd)>,
}

impl Sysctls {
    /// Reads one.
    ///
    /// # Errors
    /// The file's.
    pub fn read(&mut self, name: &str) -> io::Result<String> {
        Sysctl(self.file(name, OFlag::O_RDONLY)?).read()
    }

    /// Opens one that may be written.
    ///
    /// # Errors
    /// The file's.
    pub fn open(&mut self, name: &str) -> io::Result<Sysctl> {
        Ok(Sysctl(self.file(name, OFlag::O_RDWR)?))
    }

    fn file(&mut self, name: &str, flags: OFlag) -> io::Result<File> {
        let (directory, leaf) = name.rsplit_once('.').unwrap_or(("", name));
        let known = self.directories.iter().position(|(known, _)| known == directory);
        let index = match known {
            Some(index) => index,
            None => {
                let opened = open_directory(directory)?;
                self.directories.push((directory.to_owned(), opened));
                self.directories.len() - 1
            }
        };
        let (_, directory) = &self.directories[index];
        Ok(openat(directory, leaf, flags | OFlag::O_CLOEXEC, Mode::empty())?.into())
    }
}

fn open_directory(name: &str) -> io::Result<OwnedFd> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path.as_str(), flags, Mode::empty())?)
}

/// One sysctl. These files give and take a value only at their beginning.
#[derive(Debug)]
pub struct Sysctl(File);

impl Sysctl {
    /// Its value, which fits into one read.
    ///
    /// # Errors
    /// The file's.
    pub fn read(&self) -> io::Result<String> {
        let mut buffer = [0; 128];
        let length = self.0.read_at(&mut buffer, 0)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        Ok(text.trim_end().to_owned())
    }

    /// Gives it a value.
    ///
    /// # Errors
    /// The file's.
    pub fn write(&self, value: &str) -> io::Result<()> {
        self.0.write_all_at(value.as_bytes(), 0)
    }
}
