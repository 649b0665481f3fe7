//! Where file systems of a type are mounted.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The calling thread's table of mounts.
pub(crate) const TABLE: &str = "/proc/thread-self/mountinfo";

/// All mount points of a file system type that the calling thread sees, in mount order.
pub fn mounts(kind: &str) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string(TABLE)?;
    Ok(table.lines().filter_map(|line| mount_point(line, kind)).collect())
}

fn mount_point(line: &str, kind: &str) -> Option<PathBuf> {
    // "36 35 98:0 /root /mount/point options [optional fields] - type source options"
    let (before, after) = line.split_once(" - ")?;
    let is_kind = after.split(' ').next() == Some(kind);
    let escaped = before.split(' ').nth(4).filter(|_| is_kind)?;
    Some(PathBuf::from(escaped.replace("\\040", " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "36 35 0:30 / /sys/fs/cgroup/a\\040b rw,nosuid shared:9 - cgroup2 cgroup2 rw";

    #[test]
    fn a_mount_point_is_read_whatever_optional_fields_there_are() {
        assert_eq!(
            mount_point(LINE, "cgroup2"),
            Some(PathBuf::from("/sys/fs/cgroup/a b"))
        );
        assert_eq!(
            mount_point(&LINE.replace(" shared:9", ""), "cgroup2"),
            Some("/sys/fs/cgroup/a b".into())
        );
    }

    #[test]
    fn other_types_and_broken_lines_are_no_mounts() {
        assert_eq!(mount_point(LINE, "cgroup"), None);
        assert_eq!(mount_point("36 35 - cgroup2", "cgroup2"), None);
    }
}
