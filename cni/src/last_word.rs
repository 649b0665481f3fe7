//! What the agent last said of namespaces, for when it is away: pods in those that it names are none of the mesh's
//! business and may start without it. All others wait, and so does everybody if there is no last word.
//!
//! It is no copy of the kernel's state but of the cluster's, which nothing on the node knows without the agent. It is
//! believed until the next boot only.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Its file, beside the agent's socket.
const NAME: &str = "last-word.json";

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where it stands, seen from the socket that the agent listens on.
#[must_use]
pub fn beside(socket: &Path) -> PathBuf {
    socket.with_file_name(NAME)
}

/// The agent's last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastWord {
    /// The boot it was said in.
    boot: String,
    /// Namespaces without any pod in the mesh.
    outside: BTreeSet<String>,
}

impl LastWord {
    /// To be said now.
    ///
    /// # Errors
    /// The kernel does not tell which boot this is.
    pub fn new(outside: BTreeSet<String>) -> io::Result<Self> {
        Ok(Self {
            boot: boot_id()?,
            outside,
        })
    }

    /// Whether pods of the namespace may start without the agent.
    #[must_use]
    pub fn is_outside(&self, namespace: &str) -> bool {
        self.outside.contains(namespace)
    }

    /// Reads it. Whatever cannot be read, or is from before the last boot, says nothing.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        let word: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (word.boot == boot_id().ok()?).then_some(word)
    }

    /// Writes it as a whole, so that no reader meets half of it.
    ///
    /// # Errors
    /// Those of the file system; an older word stands then.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let draft = PathBuf::from(format!("{}.new", path.display()));
        fs::write(&draft, serde_json::to_vec(self)?)?;
        fs::rename(&draft, path)
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}
