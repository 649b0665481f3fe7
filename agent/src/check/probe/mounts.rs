//! What is mounted where.

use std::fs;
use std::path::{Path, PathBuf};

/// The mounts that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    cgroup2: Vec<PathBuf>,
    bpffs: Vec<PathBuf>,
    has_cgroup1: bool,
}

impl Mounts {
    /// As this process sees them; none if that cannot be read.
    pub fn of_this_process() -> Self {
        fs::read_to_string("/proc/self/mountinfo").map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    /// Where cgroup2 is mounted: the usual places first.
    pub fn cgroup2(&self) -> Option<&Path> {
        let usual = |path: &&PathBuf| path.starts_with("/sys/fs/cgroup");
        self.cgroup2
            .iter()
            .find(usual)
            .or(self.cgroup2.first())
            .map(PathBuf::as_path)
    }

    /// Some controllers are in version 1: processes may then all sit in the root of version 2.
    pub fn is_hybrid(&self) -> bool {
        self.has_cgroup1
    }

    /// Whether a bpffs is mounted at this path.
    pub fn has_bpffs(&self, path: &Path) -> bool {
        self.bpffs.iter().any(|mounted| mounted == path)
    }

    fn parse(mountinfo: &str) -> Self {
        let mut mounts = Self::default();
        // What a container has of the hierarchy: its own cgroup.
        let mut parts = Vec::new();
        for (root, path, kind) in mountinfo.lines().filter_map(fields) {
            match kind {
                "cgroup2" if root == "/" => mounts.cgroup2.push(path.into()),
                "cgroup2" => parts.push(path.into()),
                "cgroup" => mounts.has_cgroup1 = true,
                "bpf" => mounts.bpffs.push(path.into()),
                _ => {}
            }
        }
        if mounts.cgroup2.is_empty() {
            mounts.cgroup2 = parts;
        }
        mounts
    }
}

/// Root, mount point and type of a line; a variable number of fields before ` - ` lies between the last two.
fn fields(line: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    Some((before.next()?, before.next()?, after.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Mounts;

    #[test]
    fn a_hybrid_node() {
        let mounts = Mounts::parse(
            "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 master:2 - cgroup2 cgroup2 rw\n\
             32 30 0:28 / /sys/fs/cgroup/cpu rw shared:11 - cgroup cgroup rw,cpu\n",
        );
        assert_eq!(mounts.cgroup2(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert!(mounts.is_hybrid());
        assert!(!mounts.has_bpffs(Path::new("/sys/fs/bpf")));
    }

    #[test]
    fn a_pure_node_with_a_second_mount_by_somebody_else() {
        let mounts = Mounts::parse(
            "40 23 0:30 / /run/cilium/cgroupv2 rw - cgroup2 none rw\n\
             39 23 0:30 /system.slice /sys/fs/cgroup/part rw - cgroup2 none rw\n\
             41 23 0:30 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n\
             42 23 0:31 / /sys/fs/bpf rw shared:5 - bpf bpf rw,mode=700\n\
             nonsense\n",
        );
        assert_eq!(mounts.cgroup2(), Some(Path::new("/sys/fs/cgroup")));
        assert!(!mounts.is_hybrid());
        assert!(mounts.has_bpffs(Path::new("/sys/fs/bpf")));
    }
}
