//! Builds the eBPF crates and puts their objects where a build script can embed them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::{NotFound, Toolchain};

/// Why the objects could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is nothing to build them with.
    #[error(transparent)]
    Toolchain(#[from] NotFound),
    /// A variable that cargo gives every build script is missing.
    #[error("{0} is not set: this runs only in a build script")]
    NotABuildScript(&'static str),
    /// The compiler or the linker refused.
    #[error("building the eBPF crates with {toolchain} failed ({status}); its messages are above")]
    Failed {
        /// What was used.
        toolchain: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or program.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Builds `packages` from `workspace` and copies each of their binaries `name` to `OUT_DIR/name`.
///
/// The eBPF crates share one target directory for all profiles of the workspace, so `cargo build`, `cargo clippy`
/// and rust-analyzer compile them once.
///
/// # Errors
/// [`BuildError`] when there is no toolchain or the build fails.
pub fn build_objects(workspace: &Path, packages: &[&str], objects: &[&str]) -> Result<(), BuildError> {
    let toolchain = Toolchain::find()?;
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let target_dir = shared_target_dir(&out_dir);
    let target = if variable("CARGO_CFG_TARGET_ENDIAN")? == "big" {
        "bpfeb"
    } else {
        "bpfel"
    };
    let target = format!("{target}-unknown-none");
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;

    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(workspace)
        .args(["build", "--quiet", "--release", "--bins", "-Zbuild-std=core"]);
    cargo
        .arg("--target")
        .arg(&target)
        .arg("--target-dir")
        .arg(&target_dir);
    for package in packages {
        cargo.args(["--package", package]);
    }
    // Debug information is what BTF is made from; without it the maps have no types.
    let flags = format!(
        "--cfg=bpf_target_arch=\"{}\"\x1f-Cdebuginfo=2\x1f-Clink-arg=--btf",
        arch.to_string_lossy()
    );
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
    // Set by cargo or clippy for the host build; they must not leak into this one.
    for leaking in [
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_TARGET_DIR",
        "RUSTUP_TOOLCHAIN",
    ] {
        cargo.env_remove(leaking);
    }
    let status = cargo.status().map_err(|source| BuildError::Io {
        path: "cargo".into(),
        source,
    })?;
    if !status.success() {
        return Err(BuildError::Failed {
            toolchain: toolchain.to_string(),
            status,
        });
    }
    for object in objects {
        let built = target_dir.join(&target).join("release").join(object);
        fs::copy(&built, out_dir.join(object)).map_err(|source| BuildError::Io { path: built, source })?;
    }
    Ok(())
}

/// `target/ebpf`, found from `target/<profile>/build/<crate>/out`.
fn shared_target_dir(out_dir: &Path) -> PathBuf {
    out_dir.ancestors().nth(4).unwrap_or(out_dir).join("ebpf")
}

fn variable(name: &'static str) -> Result<OsString, BuildError> {
    env::var_os(name).ok_or(BuildError::NotABuildScript(name))
}
