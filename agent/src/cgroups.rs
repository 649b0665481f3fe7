//! The cgroup hierarchy of the node.

pub mod depth;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Why the hierarchy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// There is none.
    #[error("no cgroup v2 hierarchy is mounted; mount one (`mount -t cgroup2 none /sys/fs/cgroup`)")]
    NotMounted,
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The cgroup v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub root: PathBuf,
    /// Whether cgroup v1 controllers are mounted too: then pods may not be told from other processes by cgroup.
    pub hybrid: bool,
}

impl Hierarchy {
    /// Finds the hierarchy in this process's mounts.
    ///
    /// # Errors
    /// [`CgroupError`].
    pub fn find() -> Result<Self, CgroupError> {
        let path = PathBuf::from("/proc/self/mountinfo");
        let mounts = fs::read_to_string(&path).map_err(|source| CgroupError::Io { path, source })?;
        Self::parse(&mounts).ok_or(CgroupError::NotMounted)
    }

    fn parse(mounts: &str) -> Option<Self> {
        let mut whole = None;
        let mut part = None;
        let mut hybrid = false;
        for line in mounts.lines() {
            let Some((mount, filesystem)) = line.split_once(" - ") else {
                continue;
            };
            match filesystem.split(' ').next() {
                Some("cgroup2") => {
                    let mut fields = mount.split(' ').skip(3);
                    let is_whole = fields.next() == Some("/");
                    let found = if is_whole { &mut whole } else { &mut part };
                    *found = found.take().or(fields.next().map(PathBuf::from));
                }
                Some("cgroup") => hybrid = true,
                _ => {}
            }
        }
        // A container has its own cgroup mounted as if it were all there is.
        let root = whole.or(part)?;
        Some(Self { root, hybrid })
    }

    /// The cgroup below which kubelet puts all pods, if there is one: at the root, or where kubelets of nodes that are
    /// containers are told to put it (`--cgroup-root=/kubelet`).
    #[must_use]
    pub fn pods(&self) -> Option<Cgroup> {
        let known = [
            "kubepods.slice",
            "kubepods",
            "kubelet.slice/kubelet-kubepods.slice",
            "kubelet/kubepods",
        ];
        known
            .into_iter()
            .find_map(|name| Cgroup::open(&self.root, &self.root.join(name)).ok())
    }

    /// The cgroup of a process, if it is not the root.
    #[must_use]
    pub fn of_process(&self, process: u32) -> Option<Cgroup> {
        let path = self.path_of_process(process)?;
        if path == self.root {
            return None;
        }
        Cgroup::open(&self.root, &path).ok()
    }

    /// The directory of a process's cgroup.
    #[must_use]
    pub fn path_of_process(&self, process: u32) -> Option<PathBuf> {
        let text = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        Some(
            self.root
                .components()
                .chain(Path::new(path).components())
                .collect(),
        )
    }
}

/// A cgroup as programs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The inode of its directory.
    pub id: u64,
    /// Its depth below the root that can be seen.
    pub level: u32,
}

impl Cgroup {
    /// The cgroup at `path` in the hierarchy at `root`.
    ///
    /// # Errors
    /// [`CgroupError::Io`] if it is not there.
    pub fn open(root: &Path, path: &Path) -> Result<Self, CgroupError> {
        let metadata = fs::metadata(path).map_err(|source| CgroupError::Io {
            path: path.to_owned(),
            source,
        })?;
        let level = path
            .strip_prefix(root)
            .map_or(0, |below| below.components().count());
        Ok(Self {
            id: metadata.ino(),
            level: u32::try_from(level).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Hierarchy;

    #[test]
    fn unified_and_hybrid_hierarchies_are_told_apart() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchy::parse(unified).unwrap();
        assert_eq!(
            (found.root.as_path(), found.hybrid),
            (Path::new("/sys/fs/cgroup"), false)
        );
        let hybrid = "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchy::parse(hybrid).unwrap();
        assert_eq!(
            (found.root.as_path(), found.hybrid),
            (Path::new("/sys/fs/cgroup/unified"), true)
        );
        let container = "29 23 0:26 /kubepods/pod1/weir /sys/fs/cgroup ro - cgroup2 cgroup rw\n\
                         30 23 0:26 / /host/sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let found = Hierarchy::parse(container).unwrap();
        assert_eq!(found.root, Path::new("/host/sys/fs/cgroup"));
        assert_eq!(Hierarchy::parse("25 1 8:1 / / rw - ext4 /dev/sda rw\n"), None);
    }
}
