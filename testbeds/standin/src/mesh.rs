//! Who is in the mesh: given on the command line, or in a file that is read again whenever it changes.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// How an address is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// It has a proxy: tunnel to its port 15008.
    Hbone,
    /// It has none: connect to it directly.
    Tcp,
    /// It has a proxy, which is this one (node contract).
    Local,
}

/// All that is known; unknown addresses are [`Peer::Tcp`].
pub type Peers = HashMap<IpAddr, Peer>;

/// Answers how an address is reached.
pub struct Mesh {
    fixed: Peers,
    file: Option<MeshFile>,
}

struct MeshFile {
    path: PathBuf,
    read: Mutex<Option<(Version, Arc<Peers>)>>,
}

/// What changes when a file is written to or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Mesh {
    /// Knows `fixed`, and what `file` says at the moment of each question.
    pub fn new(fixed: Peers, file: Option<PathBuf>) -> Self {
        let file = file.map(|path| MeshFile {
            path,
            read: Mutex::default(),
        });
        Self { fixed, file }
    }

    /// How to reach `address`.
    pub fn peer(&self, address: IpAddr) -> Peer {
        let known = self.fixed.get(&address).copied();
        known
            .or_else(|| self.file.as_ref()?.peer(address))
            .unwrap_or(Peer::Tcp)
    }

    /// Is `address` a pod of this node (node contract)?
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.peer(address) == Peer::Local
    }
}

impl MeshFile {
    fn peer(&self, address: IpAddr) -> Option<Peer> {
        // One stat per connection; in return, a connection made after the file was written sees what it says.
        self.peers()
            .inspect_err(|error| eprintln!("weir-standin: {}: {error}", self.path.display()))
            .ok()?
            .get(&address)
            .copied()
    }

    fn peers(&self) -> io::Result<Arc<Peers>> {
        let version = Version::of(&self.path)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*read {
            Some((known, peers)) if *known == version => Ok(Arc::clone(peers)),
            _ => {
                let peers = Arc::new(serde_json::from_slice(&fs::read(&self.path)?)?);
                *read = Some((version, Arc::clone(&peers)));
                Ok(peers)
            }
        }
    }
}

impl Version {
    fn of(path: &Path) -> io::Result<Self> {
        let facts = fs::metadata(path)?;
        Ok(Self {
            inode: facts.ino(),
            size: facts.size(),
            seconds: facts.mtime(),
            nanoseconds: facts.mtime_nsec(),
        })
    }
}
