//! A network namespace of the probe's own, and what is tried in it.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sched::{CloneFlags, unshare};

use super::trial::{refused, refused_io, result};
use crate::check::Outcome;
use crate::datapath::sys::netns_cookie;
use crate::enroll::EnrollError;
use crate::enroll::socket_table::{self, States};

/// The calling thread is in it, and it goes away with the thread.
pub struct PrivateNetns(File);

impl PrivateNetns {
    /// For a thread that does nothing else and ends afterwards: there is no way back.
    pub fn enter() -> Result<Self, Outcome> {
        let what = "a network namespace for the probe";
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| refused_io(what, &error.into()))?;
        File::open("/proc/thread-self/ns/net")
            .map(Self)
            .map_err(|error| refused_io(what, &error))
    }
}

impl AsFd for PrivateNetns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sets a switch; `name` is its path below `/proc/sys`. Must be called in a [`PrivateNetns`].
pub fn sysctl(name: &str) -> Outcome {
    let root = Path::new("/proc/sys");
    if name.starts_with("net/ipv6/") && !root.join("net/ipv6").exists() {
        return Outcome::ok("this node has no IPv6");
    }
    let path = root.join(name);
    if fs::exists(&path).is_ok_and(|exists| !exists) {
        return Outcome::missing(format!("{} does not exist", path.display()));
    }
    let set = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(b"1"));
    result(set.map_err(|error| refused_io(&path.display().to_string(), &error)))
}

/// Lists the sockets of the namespace.
pub fn socket_table(netns: &PrivateNetns) -> Outcome {
    let listed = socket_table::read(netns.as_fd(), States::LISTENING);
    result(listed.map_err(|error| match error {
        EnrollError::SocketTable(error) => refused_io("listing TCP sockets", &error),
        other => Outcome::missing(other.to_string()),
    }))
}

/// Asks a socket for its namespace's cookie.
pub fn cookie() -> Outcome {
    let asked = UdpSocket::bind("0.0.0.0:0")
        .map_err(|error| refused_io("a UDP socket", &error))
        .and_then(|socket| netns_cookie(socket.as_fd()).map_err(|error| refused(&error)));
    result(asked)
}
