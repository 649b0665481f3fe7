//! Pods from a YAML file, for nodes without Kubernetes and for tests. `docs/pods-file.md` describes it for users.
//!
//! ```yaml
//! namespaces:
//!   default: {labels: {istio.io/dataplane-mode: ambient}}
//! pods:
//! - name: client            # required, as are namespace and uid
//!   namespace: default
//!   uid: 0b1f6f0e-4b9e-4c8e-8f0e-3f6f1a2b3c4d
//!   serviceAccount: client  # else "default"
//!   netns: /run/netns/client
//!   labels: {}
//!   annotations: {}
//!   hostNetwork: false
//!   phase: Running
//!   addresses: [10.0.0.7, "fd00::7"]
//! ```
//!
//! The file's *directory* is watched, because editors and mounted ConfigMaps replace files rather than write them.
//! A file that is missing, half-written or wrong leaves the last good list in force and is reported in the status.

mod format;
#[cfg(test)]
mod tests;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::{fs, select, time};

pub use format::{FormatError, PodsFile, parse};
use watch::DirectoryWatch;

use super::{Outlet, PodSource};

/// How long after a first change further ones are waited for, so that one edit is read once.
pub const DAMPING: Duration = Duration::from_millis(100);

/// A larger file is a mistake; 110 pods with a page of annotations each stay far below.
const LARGEST: u64 = 16 << 20;

/// How often a directory that does not exist is looked for.
const DIRECTORY_RETRY: Duration = Duration::from_secs(1);

/// The task behind a [`PodSource`] that reads a file.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    damping: Duration,
    retry: Duration,
    outlet: Outlet,
}

impl FileSource {
    /// A source for the file at `path`; nothing happens until [`run`](Self::run).
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> (Self, PodSource) {
        let (outlet, source) = Outlet::new();
        (
            Self {
                path: path.into(),
                damping: DAMPING,
                retry: DIRECTORY_RETRY,
                outlet,
            },
            source,
        )
    }

    /// Follows the file until nobody listens any more.
    pub async fn run(mut self) {
        let events = self.outlet.events.clone();
        select! {
            () = events.closed() => {}
            never = self.follow() => match never {},
        }
    }

    async fn follow(&mut self) -> std::convert::Infallible {
        loop {
            let ended = self.follow_directory().await;
            self.outlet.fail(ended);
            time::sleep(self.retry).await;
        }
    }

    /// Follows the file for as long as its directory can be watched, and says why that ended.
    async fn follow_directory(&mut self) -> FileError {
        // Watched before the file is read, so that no change falls between the two.
        let mut watch = match DirectoryWatch::new(&self.path) {
            Ok(watch) => watch,
            Err(error) => return error,
        };
        loop {
            self.reload(&mut watch).await;
            if let Err(error) = self.changed(&mut watch).await {
                return error;
            }
        }
    }

    async fn reload(&mut self, watch: &mut DirectoryWatch) {
        watch.note_links();
        match read(&self.path).await {
            Ok(PodsFile { pods, namespaces }) => {
                self.outlet.tell_namespaces(&namespaces);
                self.outlet.publish(pods);
            }
            Err(error) => self.outlet.fail(error),
        }
    }

    /// Waits for a change and then until the damping has passed.
    async fn changed(&self, watch: &mut DirectoryWatch) -> Result<(), FileError> {
        watch.changed().await?;
        let deadline = time::Instant::now() + self.damping;
        while let Ok(further) = time::timeout_at(deadline, watch.changed()).await {
            further?;
        }
        Ok(())
    }
}

/// Reads the pods file at `path`.
pub async fn read(path: &Path) -> Result<PodsFile, FileError> {
    let on_path = |source| FileError::from_read(path, source);
    // Asked before opening, because opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).await.map_err(on_path)?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(FileError::NotAPodsFile {
            path: path.to_owned(),
        });
    }
    let mut text = String::new();
    let file = fs::File::open(path).await.map_err(on_path)?;
    file.take(LARGEST)
        .read_to_string(&mut text)
        .await
        .map_err(on_path)?;
    parse(&text).map_err(|source| FileError::Format {
        path: path.to_owned(),
        source,
    })
}

/// Why the pods file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("pods file {path} does not exist: create it, it will be read at once")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("pods file {path} cannot be read: {source}")]
    Read {
        /// Where it is.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A directory, a pipe, or something huge.
    #[error("{path} is not a regular file of at most {} MiB: give the path of a pods file", LARGEST >> 20)]
    NotAPodsFile {
        /// Where it is.
        path: PathBuf,
    },
    /// Its text is wrong.
    #[error("pods file {path}: {source}")]
    Format {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: FormatError,
    },
    /// It can be read but not followed.
    #[error(
        "directory {directory} of the pods file cannot be watched: {source}; create it, or raise fs.inotify.max_user_instances"
    )]
    Watch {
        /// The directory.
        directory: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Its directory was removed or moved.
    #[error("directory {directory} of the pods file is gone: create it again, it is looked for every second")]
    DirectoryGone {
        /// The directory.
        directory: PathBuf,
    },
}

impl FileError {
    fn from_read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Read { path, source },
        }
    }
}
