//! Listening Unix sockets and their files, which only root can open and which go when their listener does.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

/// Connections the kernel keeps for us while accepting is paused.
const BACKLOG: i32 = 128;

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers on the path.
    #[error(
        "{path}: process {pid} already listens here; stop it (another weir agent, or istio-cni's node agent) \
         or choose another socket path"
    )]
    InUse {
        /// The socket's path.
        path: PathBuf,
        /// Who listens; 0 when it cannot be told.
        pid: i32,
    },
    /// Something that is not a socket has the name.
    #[error("{path} exists and is not a socket: move it away or choose another socket path")]
    NotASocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("{path}: cannot {step}: {source}")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Listens at `path`, without blocking: directory 0700 if it has to be made, socket 0600, a dead predecessor's file
/// replaced.
///
/// # Errors
/// [`BindError`], above all if somebody else listens there.
pub fn bind(path: &Path, kind: Type) -> Result<(Socket, SocketFile), BindError> {
    let failed = |step| {
        move |source| BindError::Io {
            path: path.to_owned(),
            step,
            source,
        }
    };
    if let Some(directory) = path.parent() {
        make_directory(directory).map_err(failed("make the directory"))?;
    }
    remove_stale(path, kind)?;
    let socket = listening_socket(path, kind).map_err(failed("listen"))?;
    let file = SocketFile::made_at(path).map_err(failed("read back the socket file"))?;
    Ok((socket, file))
}

fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn listening_socket(path: &Path, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    // Before bind: Linux takes the file's mode from the socket's, so it is never open to others.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Removes a socket file nobody listens on; there may be none.
///
/// # Errors
/// [`BindError::InUse`] if somebody does.
pub fn remove_stale(path: &Path, kind: Type) -> Result<(), BindError> {
    let failed = |step| {
        move |source| BindError::Io {
            path: path.to_owned(),
            step,
            source,
        }
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at the socket file")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_socket) => {}
    }
    match listener_of(path, kind).map_err(failed("probe for another agent"))? {
        Some(pid) => Err(BindError::InUse {
            path: path.to_owned(),
            pid,
        }),
        None => std::fs::remove_file(path).map_err(failed("remove the stale socket file")),
    }
}

/// The process listening on `path`, 0 if it cannot be told, or nothing.
fn listener_of(path: &Path, kind: Type) -> io::Result<Option<i32>> {
    let probe = Socket::new(Domain::UNIX, kind, None)?;
    // A full backlog must not hold us up.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(Some(getsockopt(&probe, sockopt::PeerCredentials)?.pid())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        // A full backlog, or a listener of another socket type.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EPROTOTYPE)) => Ok(Some(0)),
        Err(error) => Err(error),
    }
}

/// The file in the directory; removed with its listener, unless it is a successor's by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn made_at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity_of(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity_of(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket file stays behind");
        }
    }
}

fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
