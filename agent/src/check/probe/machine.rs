//! What the kernel and its file systems offer.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::{process, thread};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::mounts::Mounts;
use super::trial::{self, refused, refused_io};
use super::unique_name;
use crate::check::Outcome;
use crate::datapath::sys::{self, MapType, obj_get, obj_pin, pidfd_open};

/// The oldest release that the socket path was made for; some distributions have its features in older ones.
const FLOOR: (u32, u32) = (5, 15);
const BPFFS: &str = "/sys/fs/bpf";

pub fn kernel() -> Outcome {
    by_release(|release| match is_since(release, FLOOR) {
        Some(true) => Outcome::ok(release),
        Some(false) => Outcome::missing(format!("{release} is older than what Weir is made for")),
        None => Outcome::ok(format!("{release} is no version that Weir can read")),
    })
}

pub fn since(first: (u32, u32)) -> Outcome {
    by_release(|release| match is_since(release, first) {
        Some(true) => Outcome::ok(""),
        Some(false) => Outcome::missing(format!("{release}, unless its distributor has added it")),
        None => Outcome::ok("not tried"),
    })
}

fn by_release(judge: impl FnOnce(&str) -> Outcome) -> Outcome {
    match fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(release) => judge(release.trim()),
        Err(error) => refused_io("/proc/sys/kernel/osrelease", &error),
    }
}

/// Whether the release is this one or newer; nothing if it cannot be read.
fn is_since(release: &str, first: (u32, u32)) -> Option<bool> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor) >= first),
        _ => None,
    }
}

pub fn btf() -> Outcome {
    let path = "/sys/kernel/btf/vmlinux";
    trial::result(File::open(path).map_err(|error| refused_io(path, &error)))
}

pub fn cgroup2(mounts: &Mounts) -> Outcome {
    match mounts.cgroup2() {
        None => Outcome::missing("not mounted"),
        Some(path) if mounts.is_hybrid() => Outcome::ok(format!(
            "{}, hybrid: kubelet and hostNetwork pods may not be told apart",
            path.display()
        )),
        Some(path) => Outcome::ok(path.display().to_string()),
    }
}

/// Pins a map, in a mount of the probe's own if there is none yet.
pub fn bpffs(mounts: &Mounts) -> Outcome {
    if mounts.has_bpffs(Path::new(BPFFS)) {
        return match pin_and_open() {
            Ok(()) => Outcome::ok(BPFFS),
            Err(outcome) => outcome,
        };
    }
    let probe = || {
        mount_privately()
            .map_err(|error| refused_io("mounting a bpffs", &error))
            .and_then(|()| pin_and_open())
    };
    let tried = thread::scope(|scope| scope.spawn(probe).join());
    match tried.unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
        Ok(()) => Outcome::ok(format!("not mounted at {BPFFS}: the agent will mount it")),
        Err(outcome) => outcome,
    }
}

/// Mounts a bpffs that only the calling thread sees.
fn mount_privately() -> io::Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("weir_check"), BPFFS, Some("bpf"), MsFlags::empty(), none)?;
    Ok(())
}

fn pin_and_open() -> Result<(), Outcome> {
    let map = trial::map(MapType::HASH)?;
    let pin = Pin::new(map.as_fd())?;
    obj_get(&pin.0).map(drop).map_err(|error| refused(&error))
}

/// Removed when dropped.
struct Pin(PathBuf);

impl Pin {
    fn new(object: BorrowedFd<'_>) -> Result<Self, Outcome> {
        let path = Path::new(BPFFS).join(unique_name());
        obj_pin(object, &path).map_err(|error| refused_io(&path.display().to_string(), &error.source))?;
        Ok(Self(path))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the probe's pin stays behind");
        }
    }
}

/// Copies a descriptor of this process, as it would one of ztunnel.
pub fn pidfd_getfd() -> Outcome {
    let path = "/proc/self/status";
    let copied = File::open(path)
        .map_err(|error| refused_io(path, &error))
        .and_then(|file| {
            let process = pidfd_open(process::id()).map_err(|error| refused(&error))?;
            sys::pidfd_getfd(process.as_fd(), file.as_raw_fd()).map_err(|error| refused(&error))
        });
    trial::result(copied)
}

#[cfg(test)]
mod tests {
    use super::{FLOOR, is_since};

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(is_since("6.6.8-talos", FLOOR), Some(true));
        assert_eq!(is_since("5.15.0-101-generic", FLOOR), Some(true));
        assert_eq!(is_since("5.15.0-101-generic", (6, 1)), Some(false));
        assert_eq!(is_since("5.4.0", FLOOR), Some(false));
        assert_eq!(is_since("4.18.0-553.el8", FLOOR), Some(false));
        assert_eq!(is_since("custom", FLOOR), None, "the other probes decide");
    }
}
