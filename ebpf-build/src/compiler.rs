//! A Rust compiler, and whether it can build `core` for the kernel.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the source of `core` lies below a toolchain's root: rustup's `rust-src`, Debian's `rust-web-src`.
const CORE_SOURCE: &str = "lib/rustlib/src/rust/library/core/Cargo.toml";

/// The oldest compiler that takes this workspace.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// The cargo and rustc of one toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: PathBuf,
}

/// Why a compiler is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    Absent,
    NoSource,
    TooOld(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("is not installed"),
            Self::NoSource => f.write_str("has no rust-src"),
            Self::TooOld(version) => write!(f, "is {version:?}, older than {OLDEST}"),
        }
    }
}

impl Compiler {
    /// The programs in a toolchain's root directory: `bin/cargo` and `bin/rustc`.
    pub(crate) fn in_root(root: &Path) -> Self {
        Self {
            cargo: root.join("bin/cargo"),
            rustc: root.join("bin/rustc"),
        }
    }

    /// The toolchain that a path to a cargo belongs to.
    pub(crate) fn of_cargo(cargo: &Path) -> Self {
        Self {
            cargo: cargo.to_owned(),
            rustc: cargo.with_file_name("rustc"),
        }
    }

    /// A toolchain of rustup. The directory is read, as running rustup may download what is not there.
    pub(crate) fn of_rustup(name: &OsStr) -> Result<Self, Unfit> {
        let home = env::var_os("RUSTUP_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(env::home_dir()?.join(".rustup")))
            .ok_or(Unfit::Absent)?;
        let wanted = name.to_str().ok_or(Unfit::Absent)?;
        let mut found: Vec<PathBuf> = std::fs::read_dir(home.join("toolchains"))
            .map_err(|_| Unfit::Absent)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|dir| {
                dir.file_name()
                    .and_then(OsStr::to_str)
                    .is_some_and(|dir| names(dir, wanted))
            })
            .collect();
        found.sort();
        found.pop().map(|dir| Self::in_root(&dir)).ok_or(Unfit::Absent)
    }

    /// The same compiler, once it has shown that it can build `core`.
    pub(crate) fn fit(self) -> Result<Self, Unfit> {
        if !self.cargo.is_file() || !self.rustc.is_file() {
            return Err(Unfit::Absent);
        }
        if !self.root().is_some_and(|root| root.join(CORE_SOURCE).is_file()) {
            return Err(Unfit::NoSource);
        }
        let version = self.version();
        if is_new_enough(&version, OLDEST) {
            Ok(self)
        } else {
            Err(Unfit::TooOld(version))
        }
    }

    /// A program of the same toolchain.
    pub(crate) fn sibling(&self, program: &str) -> Option<PathBuf> {
        Some(self.rustc.with_file_name(program)).filter(|path| path.is_file())
    }

    fn root(&self) -> Option<&Path> {
        self.rustc.parent()?.parent()
    }

    fn version(&self) -> String {
        let output = Command::new(&self.rustc)
            .arg("--version")
            .env_remove("RUSTUP_TOOLCHAIN")
            .output();
        output.map_or_else(
            |_| String::new(),
            |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        )
    }
}

/// `nightly` names `nightly-x86_64-unknown-linux-gnu`, and not `nightly-2020-01-01-…`.
fn names(directory: &str, wanted: &str) -> bool {
    directory == wanted
        || directory
            .strip_prefix(wanted)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|host| host.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Compares `rustc 1.96.0 (…)` with `1.95`; a version that cannot be read is too old.
fn is_new_enough(version: &str, oldest: &str) -> bool {
    let number = version.split_whitespace().nth(1).unwrap_or_default();
    match (major_minor(number), major_minor(oldest)) {
        (Some(have), Some(need)) => have >= need,
        _ => false,
    }
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{is_new_enough, names};

    #[test]
    fn a_channel_names_its_host_toolchain_but_no_dated_one() {
        assert!(names("nightly-x86_64-unknown-linux-gnu", "nightly"));
        assert!(names("nightly", "nightly"));
        assert!(!names("nightly-2026-01-01-x86_64-unknown-linux-gnu", "nightly"));
        assert!(names(
            "nightly-2026-01-01-x86_64-unknown-linux-gnu",
            "nightly-2026-01-01"
        ));
        assert!(!names("stable-x86_64-unknown-linux-gnu", "nightly"));
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(is_new_enough(
            "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)",
            "1.95"
        ));
        assert!(is_new_enough(
            "rustc 1.100.0-nightly (0123456 2026-11-01)",
            "1.95"
        ));
        assert!(is_new_enough("rustc 2.0.0", "1.95"));
        assert!(!is_new_enough("rustc 1.9.0", "1.95"));
        assert!(!is_new_enough("rustc 1.63.0", "1.95"));
    }

    #[test]
    fn a_compiler_that_says_nothing_is_too_old() {
        assert!(!is_new_enough("", "1.95"));
        assert!(!is_new_enough("error: no such toolchain", "1.95"));
    }
}
