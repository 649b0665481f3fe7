//! One agent at a time, or one `weir cleanup`: whoever comes second ends before it has changed anything, whichever path the
//! two have in common.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use socket2::Type;

use super::config::AgentConfig;
use crate::datapath::{DatapathError, ensure_pin_root};
use crate::socket_file::{self, BindError};

/// Why an agent must not run.
#[derive(Debug, thiserror::Error)]
pub enum NotAlone {
    /// Another one answers on a socket of this one's.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// Another one has its programs and maps in the same directory.
    #[error(
        "{path}: another weir agent keeps its programs here, or `weir cleanup` runs; stop it, or choose another --pin-root"
    )]
    Pins {
        /// The directory.
        path: PathBuf,
    },
    /// There is no such directory, and none can be made.
    #[error(transparent)]
    PinRoot(#[from] DatapathError),
    /// Nobody can tell.
    #[error("{path}: cannot be locked: {source}")]
    Lock {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
}

/// The right to the pins. It ends with the process, however that ends.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Alone {
    pub(super) fn expect(config: &AgentConfig) -> Result<Self, NotAlone> {
        socket_file::remove_stale(&config.zds_socket, Type::SEQPACKET)?;
        if let Some(cni) = &config.cni {
            socket_file::remove_stale(&cni.socket, Type::STREAM)?;
        }
        ensure_pin_root(&config.pin_root)?;
        lock(&config.pin_root)
    }

    /// The right to what is pinned here, if anything is.
    ///
    /// # Errors
    /// [`NotAlone`] if an agent runs that has it, whether it answers or not.
    pub fn with_pins(root: &Path) -> Result<Option<Self>, NotAlone> {
        root.exists().then(|| lock(root)).transpose()
    }
}

fn lock(path: &Path) -> Result<Alone, NotAlone> {
    let directory = File::open(path).map_err(DatapathError::io(path))?;
    Flock::lock(directory, FlockArg::LockExclusiveNonblock)
        .map(Alone)
        .map_err(|(_, source)| {
            let path = path.to_owned();
            match source {
                Errno::EWOULDBLOCK => NotAlone::Pins { path },
                source => NotAlone::Lock { path, source },
            }
        })
}
