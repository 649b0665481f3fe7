//! Finding a pod's network namespace by the pod's processes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::process::{comparable, netns_inode, pod_uids, start_time};
use super::{Netns, NetnsError, NetnsId};
use crate::pods::pod::PodUid;

/// Finds the network namespace of pod `uid`: that of its oldest process which is not `host` and of which
/// `holds_address` says that it holds one of the pod's addresses. For many pods, read one [`ProcIndex`].
pub fn find_by_proc(
    proc_root: &Path,
    uid: &PodUid,
    host: NetnsId,
    holds_address: impl FnMut(&Netns) -> bool,
) -> Result<Netns, FindError> {
    ProcIndex::read(proc_root)?.find(uid, host, holds_address)
}

/// The processes of all pods, from one walk over procfs.
#[derive(Debug)]
pub struct ProcIndex {
    proc_root: PathBuf,
    by_pod: BTreeMap<String, Vec<Process>>,
    unreadable: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    start_time: u64,
    netns_inode: u64,
}

/// What one process turned out to be.
enum Sighting {
    OfPods(Vec<String>, Process),
    NotOfAPod,
    /// It may be a pod's, but the agent may not look.
    Unreadable,
}

impl ProcIndex {
    /// Walks over `proc_root`. Processes that end meanwhile are left out.
    pub fn read(proc_root: &Path) -> Result<Self, FindError> {
        let unlisted = |source| FindError::Proc {
            path: proc_root.to_owned(),
            source,
        };
        let mut index = Self {
            proc_root: proc_root.to_owned(),
            by_pod: BTreeMap::new(),
            unreadable: 0,
        };
        for entry in fs::read_dir(proc_root).map_err(unlisted)? {
            let name = entry.map_err(unlisted)?.file_name();
            if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
                index.add(look_at(proc_root, pid));
            }
        }
        Ok(index)
    }

    fn add(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::OfPods(uids, process) => {
                for uid in uids {
                    self.by_pod.entry(uid).or_default().push(process);
                }
            }
            Sighting::NotOfAPod => {}
            Sighting::Unreadable => self.unreadable += 1,
        }
    }

    /// As [`find_by_proc`], from what was read.
    pub fn find(
        &self,
        uid: &PodUid,
        host: NetnsId,
        mut holds_address: impl FnMut(&Netns) -> bool,
    ) -> Result<Netns, FindError> {
        let processes = self.by_pod.get(&comparable(uid)).map_or(&[][..], Vec::as_slice);
        if processes.is_empty() {
            return Err(FindError::NoProcess {
                uid: uid.clone(),
                unreadable: self.unreadable,
            });
        }
        let candidates = candidates(processes, host);
        if candidates.is_empty() {
            return Err(FindError::OnlyHost { uid: uid.clone() });
        }
        let mut refused = Vec::new();
        for candidate in candidates {
            // A process that ended since the walk is no reason to give up on the others.
            match self.open(candidate, host) {
                Ok(netns) if netns.id().inode == candidate.netns_inode && holds_address(&netns) => {
                    return Ok(netns);
                }
                Ok(netns) => refused.push(netns.id()),
                Err(NetnsError::Missing { .. }) => {}
                Err(source) => {
                    return Err(FindError::Netns {
                        uid: uid.clone(),
                        source,
                    });
                }
            }
        }
        Err(FindError::NoAddress {
            uid: uid.clone(),
            refused,
        })
    }

    fn open(&self, process: Process, host: NetnsId) -> Result<Netns, NetnsError> {
        Netns::open(&self.proc_root.join(process.pid.to_string()).join("ns/net"), host)
    }
}

/// Which processes to try, oldest first, one for each namespace but the host's. Pods that run containers themselves
/// have several namespaces; the pod's own is that of the sandbox, its first process.
fn candidates(processes: &[Process], host: NetnsId) -> Vec<Process> {
    let mut sorted: Vec<Process> = processes
        .iter()
        .copied()
        .filter(|p| p.netns_inode != host.inode)
        .collect();
    sorted.sort_by_key(|process| (process.start_time, process.pid));
    let mut candidates: Vec<Process> = Vec::new();
    for process in sorted {
        if candidates
            .iter()
            .all(|other| other.netns_inode != process.netns_inode)
        {
            candidates.push(process);
        }
    }
    candidates
}

fn look_at(proc_root: &Path, pid: u32) -> Sighting {
    let directory = proc_root.join(pid.to_string());
    let read = || -> io::Result<Option<Sighting>> {
        let uids: Vec<String> = distinct(pod_uids(&fs::read_to_string(directory.join("cgroup"))?));
        if uids.is_empty() {
            return Ok(None);
        }
        let start_time = start_time(&fs::read_to_string(directory.join("stat"))?);
        let link = fs::read_link(directory.join("ns/net"))?;
        let netns_inode = link.to_str().and_then(netns_inode);
        let process = start_time
            .zip(netns_inode)
            .map(|(start_time, netns_inode)| Process {
                pid,
                start_time,
                netns_inode,
            });
        Ok(process.map(|process| Sighting::OfPods(uids, process)))
    };
    match read() {
        Ok(sighting) => sighting.unwrap_or(Sighting::NotOfAPod),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Sighting::Unreadable,
        // Ended meanwhile, or a zombie.
        Err(_) => Sighting::NotOfAPod,
    }
}

/// On cgroup v1 every hierarchy names the pod again.
fn distinct(uids: impl Iterator<Item = String>) -> Vec<String> {
    let mut uids: Vec<String> = uids.collect();
    uids.sort_unstable();
    uids.dedup();
    uids
}

/// Why no namespace was found for a pod.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The walk was not possible.
    #[error("{path} cannot be listed: {source}; mount the node's /proc into the agent")]
    Proc {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The pod has no process that can be seen.
    #[error(
        "no process belongs to pod {uid} by its cgroup ({unreadable} processes could not be read): the pod has not started or \
         is gone; else check that the agent sees the node's processes (hostPID or the node's /proc) and has SYS_PTRACE"
    )]
    NoProcess {
        /// The pod.
        uid: PodUid,
        /// How many processes kept their secret.
        unreadable: usize,
    },
    /// All of the pod's processes use the node's network.
    #[error("pod {uid} only has processes in the node's own network namespace: is it a hostNetwork pod?")]
    OnlyHost {
        /// The pod.
        uid: PodUid,
    },
    /// The namespaces of its processes are not the pod's.
    #[error(
        "no network namespace of pod {uid}'s processes holds one of the pod's addresses ({}): \
         the pod is starting or ending, or its status names other addresses than its interfaces", list(.refused)
    )]
    NoAddress {
        /// The pod.
        uid: PodUid,
        /// The namespaces that were looked at.
        refused: Vec<NetnsId>,
    },
    /// A namespace of the pod cannot be used.
    #[error("pod {uid}: {source}")]
    Netns {
        /// The pod.
        uid: PodUid,
        /// Why.
        source: NetnsError,
    },
}

fn list(refused: &[NetnsId]) -> String {
    if refused.is_empty() {
        return "its processes have ended".to_owned();
    }
    refused
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, start_time: u64, netns_inode: u64) -> Process {
        Process {
            pid,
            start_time,
            netns_inode,
        }
    }

    #[test]
    fn oldest_first_one_for_each_namespace_never_the_hosts() {
        let host = NetnsId { inode: 1, device: 4 };
        let seen = [
            process(30, 9, 7),
            process(20, 5, 8),
            process(10, 5, 9),
            process(40, 2, 1),
            process(50, 3, 7),
        ];
        assert_eq!(
            candidates(&seen, host),
            [process(50, 3, 7), process(10, 5, 9), process(20, 5, 8)]
        );
        assert_eq!(candidates(&[process(40, 2, 1)], host), []);
    }
}
