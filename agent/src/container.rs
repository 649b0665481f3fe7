//! What a container runtime keeps from the agent, and how the agent takes it back for its own container alone.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use nix::sys::statvfs::{FsFlags, statvfs};
use tracing::warn;

const SYSCTLS: &str = "/proc/sys";

/// Why the agent stays locked in.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Cgroups are named from within the container.
    #[error(
        "the node's cgroup namespace cannot be entered: {source}; grant SYS_ADMIN, or cgroups of pods and of ztunnel \
         cannot be told apart"
    )]
    Cgroups {
        /// Why.
        source: io::Error,
    },
}

/// Whether this process has other mounts than the node: what it mounts is then its own, and ends with its container.
/// Told by the process with id 1, so a container that does not share the node's processes counts as the node.
#[must_use]
pub fn is_inside() -> bool {
    differs_from_node("mnt")
}

/// Sees cgroups as the node does and makes sysctls writable. To be called before there are threads, which would stay
/// behind.
///
/// # Errors
/// [`ContainerError`].
pub fn step_out() -> Result<(), ContainerError> {
    if differs_from_node("cgroup") {
        enter_cgroup_namespace().map_err(|source| ContainerError::Cgroups { source })?;
    }
    if is_read_only(SYSCTLS) {
        // What fails here fails again where a sysctl is written, with the pod's name.
        remount_writable(SYSCTLS)
            .unwrap_or_else(|error| warn!(%error, "{SYSCTLS} stays read-only: grant SYS_ADMIN"));
    }
    Ok(())
}

fn differs_from_node(namespace: &str) -> bool {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}"));
    match (of("1"), of("self")) {
        (Ok(node), Ok(own)) => node != own,
        // Whoever may not look at process 1 cannot enter its namespaces either.
        _ => false,
    }
}

/// Paths in `/proc/<pid>/cgroup` are told from the root of the reader's cgroup namespace.
fn enter_cgroup_namespace() -> io::Result<()> {
    let node = File::open("/proc/1/ns/cgroup")?;
    Ok(setns(node, CloneFlags::CLONE_NEWCGROUP)?)
}

fn is_read_only(path: &str) -> bool {
    statvfs(Path::new(path)).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_RDONLY))
}

/// Runtimes mount it over itself, read-only, in each container that is not privileged.
fn remount_writable(path: &str) -> io::Result<()> {
    let none: Option<&str> = None;
    let flags =
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(none, path, none, flags, none)?)
}
