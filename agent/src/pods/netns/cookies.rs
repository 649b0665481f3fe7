//! Namespaces by their cookies: what the kernel side knows them by, when nobody knows the pods.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::HOST_NETNS;
use crate::inside;

/// Where named namespaces are; all others are found by the processes in them.
const NAMED: &str = "/run/netns";

/// A directory that leads to namespaces cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct ListError {
    /// The directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The node's own namespace by a handle; whoever may not look at its first process is on the node's network.
///
/// # Errors
/// [`ListError`].
pub fn open_host(handle: &Path) -> Result<OwnedFd, ListError> {
    let mut host = File::open(handle);
    if host.is_err() && handle == Path::new(HOST_NETNS) {
        host = File::open("/proc/self/ns/net");
    }
    host.map(OwnedFd::from).map_err(|source| ListError {
        path: handle.to_owned(),
        source,
    })
}

/// The namespaces with these cookies, as far as a process or a name holds them.
///
/// # Errors
/// [`ListError`]; processes that end meanwhile are none.
pub fn find_by_cookies(cookies: &BTreeSet<u64>) -> Result<BTreeMap<u64, OwnedFd>, ListError> {
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    for path in handles()? {
        // Processes end meanwhile, and some files in the directory are no namespaces.
        let Ok(file) = File::open(&path) else { continue };
        let Ok(metadata) = file.metadata() else { continue };
        if !seen.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        if let Ok(cookie) = inside::cookie(file.as_fd())
            && cookies.contains(&cookie)
        {
            found.insert(cookie, file.into());
        }
    }
    Ok(found)
}

/// All processes that can be seen.
pub(crate) fn processes() -> Result<Vec<u32>, ListError> {
    let entries = entries(Path::new("/proc"))?.into_iter();
    Ok(entries
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .collect())
}

/// Paths that may lead to namespaces.
fn handles() -> Result<Vec<PathBuf>, ListError> {
    let processes = processes()?.into_iter();
    let processes = processes.map(|process| PathBuf::from(format!("/proc/{process}/ns/net")));
    let named = match entries(Path::new(NAMED)) {
        Err(ListError { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    Ok(processes.chain(named).collect())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, ListError> {
    let list =
        || -> io::Result<Vec<PathBuf>> { fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect() };
    list().map_err(|source| ListError {
        path: directory.to_owned(),
        source,
    })
}
