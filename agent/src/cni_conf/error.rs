//! Why the plugin is not in the chain.

use std::io;
use std::path::{Path, PathBuf};

use super::CONFLIST;
use super::chain::ChainError;

/// What is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// A file or directory cannot be used.
    #[error("cannot {step} {}: {source}{}", path.display(), remedy(.source))]
    Io {
        /// What was tried.
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No network is configured yet.
    #[error(
        "no CNI configuration in {}: the primary CNI has not written its own yet, or --cni-conf-dir is not the \
         runtime's directory", directory.display()
    )]
    NoPrimary {
        /// The directory.
        directory: PathBuf,
    },
    /// The primary CNI's file makes no sense.
    #[error("{file} is what the runtime would take, and it is no configuration: {why}")]
    Primary {
        /// Its name.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// Istio's own plugin is there.
    #[error(
        "{file} contains Istio's own plugin istio-cni, and two cannot redirect the same pods: remove istio-cni first, \
         or start the agent with --take-over to leave it out of the chain"
    )]
    Istio {
        /// The file's name.
        file: String,
    },
    /// Another file comes first.
    #[error("{file} is taken by runtimes before {CONFLIST}: rename it, so that its name begins with a digit")]
    Outranked {
        /// Its name.
        file: String,
    },
    /// Our entry cannot be written as JSON.
    #[error("the plugin's configuration cannot be written: {0}")]
    Entry(#[from] serde_json::Error),
}

impl ConfError {
    /// Wraps what the file system says.
    pub(super) fn at(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }

    pub(super) fn primary(file: &str, error: &ChainError) -> Self {
        Self::Primary {
            file: file.to_owned(),
            why: error.to_string(),
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room on the node's disk",
        io::ErrorKind::ReadOnlyFilesystem => "; mount the node's directory into the agent without readOnly",
        io::ErrorKind::PermissionDenied => "; the agent has to be root there, and SELinux has to let it",
        io::ErrorKind::NotFound => {
            "; mount the node's directory into the agent, and name it as it is mounted"
        }
        _ => "",
    }
}
