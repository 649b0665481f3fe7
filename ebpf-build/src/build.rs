//! Builds the eBPF crates and puts their objects where a build script can embed them.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::{Job, NotFound, Toolchain};

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
    /// A program could not be started.
    #[error("starting {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// An object could not be copied.
    #[error("copying {} to {}: {source}", from.display(), to.display())]
    Copy {
        /// What the eBPF build left.
        from: PathBuf,
        /// Where the build script wants it.
        to: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Builds `packages` from `workspace` and copies each of their binaries `objects` to `OUT_DIR`.
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
    let (endian, arch) = (
        variable("CARGO_CFG_TARGET_ENDIAN")?,
        variable("CARGO_CFG_TARGET_ARCH")?,
    );
    let job = Job {
        workspace,
        packages,
        target_dir: &target_dir,
        endian: &endian,
        arch: &arch,
    };

    let mut cargo = job.build(&toolchain);
    let program = PathBuf::from(cargo.get_program());
    let status = cargo
        .status()
        .map_err(|source| BuildError::Start { program, source })?;
    if !status.success() {
        return Err(BuildError::Failed {
            toolchain: toolchain.to_string(),
            status,
        });
    }
    for object in objects {
        let (from, to) = (job.object(object), out_dir.join(object));
        fs::copy(&from, &to).map_err(|source| BuildError::Copy { from, to, source })?;
    }
    Ok(())
}

/// `target/ebpf`, found from `target/<profile>/build/<crate>/out`.
fn shared_target_dir(out_dir: &Path) -> PathBuf {
    out_dir.ancestors().nth(4).unwrap_or(out_dir).join("ebpf")
}

fn variable(name: &'static str) -> Result<String, BuildError> {
    env::var(name).map_err(|_| BuildError::NotABuildScript(name))
}
