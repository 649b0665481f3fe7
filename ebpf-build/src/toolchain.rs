//! Which compiler and linker build the eBPF crates.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the toolchain to use: a path to a `cargo`, or the name of a rustup toolchain.
pub const TOOLCHAIN_VARIABLE: &str = "WEIR_BPF_TOOLCHAIN";

/// Where Debian's `rust-web-src` puts the standard library's source.
const DEBIAN_CORE: &str = "/usr/lib/rustlib/src/rust/library/core/Cargo.toml";

/// How a toolchain was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `WEIR_BPF_TOOLCHAIN` names it.
    Named,
    /// rustup's nightly, with the `rust-src` component.
    Nightly,
    /// Debian's `rustc-web` packages.
    Debian,
}

/// A cargo that can build `core` for the kernel, and the linker that emits eBPF.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// How it was found.
    pub origin: Origin,
    cargo: PathBuf,
    rustc: PathBuf,
    linker: PathBuf,
}

/// What is missing, in the order it was looked for.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// The variable names something that is not there.
    #[error("WEIR_BPF_TOOLCHAIN={0:?} is neither a path to a cargo nor an installed rustup toolchain")]
    Named(OsString),
    /// No compiler can build `core` from source.
    #[error(
        "no Rust toolchain here can compile eBPF: it takes rustup's nightly with rust-src, or Debian's rustc-web and rust-web-src. `./x build` installs one or says how"
    )]
    Compiler,
    /// The compiler is there, the linker is not.
    #[error("bpf-linker is neither on PATH nor in {}: `./x build` installs it or says how", .0.display())]
    Linker(PathBuf),
}

/// The directory for tools that `./x` installs; outside the tree, so that every clone shares it.
#[must_use]
pub fn tools_dir() -> PathBuf {
    if let Some(dir) = env::var_os("WEIR_TOOLS") {
        return dir.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from);
    cache.join("weir/tools")
}

impl Toolchain {
    /// Looks for what `WEIR_BPF_TOOLCHAIN` names, then rustup's nightly, then Debian's set.
    ///
    /// # Errors
    /// [`NotFound`] says which part is missing.
    pub fn find() -> Result<Self, NotFound> {
        let (origin, cargo, rustc) = find_compiler()?;
        let linker = find_linker()?;
        Ok(Self {
            origin,
            cargo,
            rustc,
            linker,
        })
    }

    /// A `cargo` command that compiles for the kernel; the caller adds what to build.
    #[must_use]
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        command
            .env("RUSTC", &self.rustc)
            // Building `core` is unstable; only nightly allows it without this.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            .env("CARGO_TARGET_BPFEB_UNKNOWN_NONE_LINKER", &self.linker);
        command
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Named => "named by WEIR_BPF_TOOLCHAIN",
            Origin::Nightly => "rustup's nightly",
            Origin::Debian => "Debian's rustc-web",
        };
        write!(
            f,
            "{origin} ({}), linker {}",
            self.rustc.display(),
            self.linker.display()
        )
    }
}

fn find_compiler() -> Result<(Origin, PathBuf, PathBuf), NotFound> {
    if let Some(name) = env::var_os(TOOLCHAIN_VARIABLE).filter(|name| !name.is_empty()) {
        let (cargo, rustc) = named_compiler(&name).ok_or(NotFound::Named(name))?;
        return Ok((Origin::Named, cargo, rustc));
    }
    if let Some((cargo, rustc)) = rustup_compiler(OsStr::new("nightly")) {
        return Ok((Origin::Nightly, cargo, rustc));
    }
    let (cargo, rustc) = (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"));
    if Path::new(DEBIAN_CORE).exists() && cargo.exists() && rustc.exists() {
        return Ok((Origin::Debian, cargo, rustc));
    }
    Err(NotFound::Compiler)
}

fn named_compiler(name: &OsStr) -> Option<(PathBuf, PathBuf)> {
    let path = Path::new(name);
    if path.is_absolute() {
        let rustc = path.with_file_name("rustc");
        return (path.is_file() && rustc.is_file()).then(|| (path.to_owned(), rustc));
    }
    rustup_compiler(name)
}

/// A rustup toolchain counts only with `rust-src`: without it `core` cannot be built for the kernel.
fn rustup_compiler(name: &OsStr) -> Option<(PathBuf, PathBuf)> {
    let rustup_home = env::var_os("RUSTUP_HOME").map_or_else(|| home().join(".rustup"), PathBuf::from);
    let wanted = name.to_str()?;
    let mut found: Vec<PathBuf> = std::fs::read_dir(rustup_home.join("toolchains"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|dir| {
            dir.file_name()
                .and_then(OsStr::to_str)
                .is_some_and(|dir| names(dir, wanted))
        })
        .filter(|dir| dir.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists())
        .collect();
    found.sort();
    let dir = found.into_iter().next_back()?;
    Some((dir.join("bin/cargo"), dir.join("bin/rustc")))
}

/// `nightly` names `nightly-x86_64-unknown-linux-gnu`, and not `nightly-2020-01-01-…`.
fn names(directory: &str, wanted: &str) -> bool {
    directory == wanted
        || directory
            .strip_prefix(wanted)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|host| host.starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn find_linker() -> Result<PathBuf, NotFound> {
    let own = tools_dir().join("bin");
    env::var_os("PATH")
        .iter()
        .flat_map(env::split_paths)
        .chain([own.clone()])
        .map(|dir| dir.join("bpf-linker"))
        .find(|path| path.is_file())
        .ok_or(NotFound::Linker(own))
}

fn home() -> PathBuf {
    env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::names;

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
}
