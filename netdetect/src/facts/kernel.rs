//! What the kernel can do.

use std::fmt;
use std::str::FromStr;

use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};

/// Major and minor number of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KernelVersion {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
}

/// A kernel whose version cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// uname failed.
    #[error("the kernel does not tell its version: {0}")]
    Uname(#[from] nix::errno::Errno),
    /// Its release begins otherwise than `6.1`.
    #[error("the kernel's release {0:?} does not begin with two numbers")]
    Release(String),
}

/// What the kernel can do, as far as the choice depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// Its version.
    pub version: KernelVersion,
    /// Whether pods are told apart at all socket hooks (netns cookies there, 5.15): the socket path.
    pub sockets: bool,
    /// Whether packets can be handed to a socket and to another interface's peer (5.10), by programs that know pods as the
    /// socket path does: the tc path, and steering.
    pub packets: bool,
    /// Whether programs at interfaces have an order (TCX, 6.6).
    pub tcx: bool,
}

/// The first kernel that the socket path runs on.
pub(crate) const SOCKETS: KernelVersion = KernelVersion::new(5, 15);
/// The first kernel that the tc path and steering run on.
pub(crate) const PACKETS: KernelVersion = SOCKETS;
const TCX: KernelVersion = KernelVersion::new(6, 6);

impl KernelVersion {
    /// This version.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl KernelFacts {
    /// What kernels of this version can do.
    #[must_use]
    pub fn of_version(version: KernelVersion) -> Self {
        Self {
            version,
            sockets: version >= SOCKETS,
            packets: version >= PACKETS,
            tcx: version >= TCX,
        }
    }

    /// What the running kernel can do, by its version.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn of_this_kernel() -> Result<Self, KernelError> {
        let release = uname()?.release().to_string_lossy().into_owned();
        Ok(Self::of_version(release.parse()?))
    }
}

impl FromStr for KernelVersion {
    type Err = KernelError;

    fn from_str(release: &str) -> Result<Self, KernelError> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self::new(major, minor)),
            _ => Err(KernelError::Release(release.to_owned())),
        }
    }
}

impl TryFrom<String> for KernelVersion {
    type Error = KernelError;

    fn try_from(text: String) -> Result<Self, KernelError> {
        text.parse()
    }
}

impl From<KernelVersion> for String {
    fn from(version: KernelVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::{KernelFacts, KernelVersion};

    #[test]
    fn a_release_begins_with_the_version() {
        for (release, version) in [
            ("6.1.0-48-cloud-amd64", (6, 1)),
            ("5.15", (5, 15)),
            ("6.18.44-x", (6, 18)),
        ] {
            assert_eq!(
                release.parse::<KernelVersion>().unwrap(),
                KernelVersion::new(version.0, version.1),
                "{release}"
            );
        }
        for release in ["", "6", "six.one", "6.x"] {
            assert!(release.parse::<KernelVersion>().is_err(), "{release}");
        }
    }

    #[test]
    fn newer_kernels_can_do_more() {
        let facts = |major, minor| {
            let facts = KernelFacts::of_version(KernelVersion::new(major, minor));
            (facts.packets, facts.sockets, facts.tcx)
        };
        assert_eq!(facts(4, 18), (false, false, false));
        assert_eq!(facts(5, 10), (false, false, false));
        assert_eq!(facts(6, 1), (true, true, false));
        assert_eq!(facts(6, 12), (true, true, true));
    }
}
