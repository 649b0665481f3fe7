//! Which compiler and linker build the eBPF crates.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compiler::{Compiler, Unfit};
use crate::linker;

/// Names the toolchain to use: a path to a `cargo`, or the name of a rustup toolchain.
pub const TOOLCHAIN_VARIABLE: &str = "WEIR_BPF_TOOLCHAIN";

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

/// A compiler that can build `core` for the kernel, and the linker that emits eBPF.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// How it was found.
    pub origin: Origin,
    compiler: Compiler,
    linker: PathBuf,
}

/// What is missing, in the order it was looked for.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// The variable names something that cannot be used.
    #[error("WEIR_BPF_TOOLCHAIN={name:?} {why}: name a path to a cargo, or a rustup toolchain with rust-src")]
    Named {
        /// The variable's value.
        name: OsString,
        /// What is wrong with it.
        why: String,
    },
    /// The variable names a compiler, and there is no linker for it.
    #[error("WEIR_BPF_TOOLCHAIN={0:?} needs bpf-linker, on PATH or in the `bin` of WEIR_TOOLS")]
    NamedWithoutLinker(OsString),
    /// No compiler and linker form a pair.
    #[error(
        "no toolchain here can compile eBPF (rustup's nightly {nightly}; Debian's rustc-web {debian}): `./x build` installs one or says how"
    )]
    Nothing {
        /// What rustup's nightly lacks.
        nightly: String,
        /// What Debian's packages lack.
        debian: String,
    },
}

impl Toolchain {
    /// Looks for what `WEIR_BPF_TOOLCHAIN` names, then rustup's nightly, then Debian's set.
    ///
    /// # Errors
    /// [`NotFound`] says which part is missing.
    pub fn find() -> Result<Self, NotFound> {
        if let Some(name) = env::var_os(TOOLCHAIN_VARIABLE).filter(|name| !name.is_empty()) {
            return named(name);
        }
        nightly().or_else(|nightly| debian().map_err(|debian| NotFound::Nothing { nightly, debian }))
    }

    /// `cargo`, set up to compile for the kernel; the caller adds what to do.
    pub(crate) fn cargo(&self) -> Command {
        self.prepared(&self.compiler.cargo)
    }

    /// `cargo clippy`, if this toolchain has it.
    pub(crate) fn clippy(&self) -> Option<Command> {
        // `cargo clippy` would take the first cargo-clippy on PATH, which may be another toolchain's.
        let mut command = self.prepared(&self.compiler.sibling("cargo-clippy")?);
        command.env("CARGO", &self.compiler.cargo).arg("clippy");
        Some(command)
    }

    fn prepared(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // Set by cargo, rustup or clippy for the host's build; they must not leak into this one.
        for leaking in [
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_BUILD_RUSTC_WRAPPER",
            "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
            "CARGO_TARGET_DIR",
            "RUSTUP_TOOLCHAIN",
        ] {
            command.env_remove(leaking);
        }
        command
            .env("RUSTC", &self.compiler.rustc)
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
            self.compiler.rustc.display(),
            self.linker.display()
        )
    }
}

fn named(name: OsString) -> Result<Toolchain, NotFound> {
    match named_compiler(&name) {
        Err(why) => Err(NotFound::Named {
            name,
            why: why.to_string(),
        }),
        Ok(compiler) => {
            let linker = linker::on_path()
                .or_else(linker::own)
                .ok_or(NotFound::NamedWithoutLinker(name))?;
            Ok(Toolchain {
                origin: Origin::Named,
                compiler,
                linker,
            })
        }
    }
}

fn named_compiler(name: &OsStr) -> Result<Compiler, Unfit> {
    let path = Path::new(name);
    let compiler = if path.is_absolute() {
        Compiler::of_cargo(path)
    } else {
        Compiler::of_rustup(name)?
    };
    compiler.fit()
}

/// Only with the developer's own linker: the one that `./x` builds reads the bitcode of Debian's LLVM.
fn nightly() -> Result<Toolchain, String> {
    let compiler = Compiler::of_rustup(OsStr::new("nightly")).and_then(Compiler::fit);
    let compiler = compiler.map_err(|why| why.to_string())?;
    let linker = linker::on_path().ok_or("finds no bpf-linker on PATH")?;
    Ok(Toolchain {
        origin: Origin::Nightly,
        compiler,
        linker,
    })
}

fn debian() -> Result<Toolchain, String> {
    let compiler = Compiler::in_root(Path::new("/usr"))
        .fit()
        .map_err(|why| why.to_string())?;
    let linker = linker::own()
        .or_else(linker::on_path)
        .ok_or("has no bpf-linker")?;
    Ok(Toolchain {
        origin: Origin::Debian,
        compiler,
        linker,
    })
}
