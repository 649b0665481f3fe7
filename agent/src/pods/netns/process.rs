//! What procfs says of one process, as text: which pods it belongs to, how old it is, which network it uses.

use crate::pods::pod::PodUid;

/// The UIDs that a process's cgroup paths (`/proc/<pid>/cgroup`) name, with dashes; normally one or none.
pub(super) fn pod_uids(cgroups: &str) -> impl Iterator<Item = String> {
    // `<hierarchy>:<controllers>:<path>`, where only the path may contain further colons.
    let paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths
        .flat_map(|path| path.split('/'))
        .filter_map(pod_uid_of_component)
}

/// `pod<uid>` (cgroupfs driver) or `kubepods-besteffort-pod<uid with underscores>.slice` (systemd driver).
fn pod_uid_of_component(component: &str) -> Option<String> {
    let name = component.strip_suffix(".slice").unwrap_or(component);
    let uid = name
        .strip_prefix("pod")
        .or_else(|| name.rsplit_once("-pod").map(|(_, uid)| uid))?;
    (!uid.is_empty()).then(|| with_dashes(uid))
}

/// The spelling by which UIDs from cgroup paths and from Kubernetes are compared.
pub(super) fn comparable(uid: &PodUid) -> String {
    with_dashes(uid.as_str())
}

fn with_dashes(uid: &str) -> String {
    uid.replace('_', "-")
}

/// Start of a process in clock ticks since boot, from `/proc/<pid>/stat`.
pub(crate) fn start_time(stat: &str) -> Option<u64> {
    /// `starttime` is field 22, and the first one after the name is field 3.
    const FIELDS_BETWEEN: usize = 22 - 3;
    // The name is in parentheses and may itself contain blanks and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(FIELDS_BETWEEN)?.parse().ok()
}

/// The inode in the text of a `/proc/<pid>/ns/net` link, `net:[4026531840]`.
pub(super) fn netns_inode(link: &str) -> Option<u64> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}
