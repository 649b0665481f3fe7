//! One cargo command over the eBPF crates.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Toolchain;

/// What to do with the eBPF crates, and where.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The root of the workspace.
    pub workspace: &'a Path,
    /// The eBPF crates.
    pub packages: &'a [&'a str],
    /// Their own target directory: it is locked by another cargo than the one that builds the host's.
    pub target_dir: &'a Path,
    /// The host's byte order as cargo names it, `little` or `big`.
    pub endian: &'a str,
    /// The host's architecture, for the layout of what kernel probes read.
    pub arch: &'a str,
}

impl Job<'_> {
    /// `cargo build`.
    #[must_use]
    pub fn build(&self, toolchain: &Toolchain) -> Command {
        let mut cargo = toolchain.cargo();
        cargo.args(["build", "--quiet"]);
        self.complete(cargo)
    }

    /// `cargo clippy`, if the toolchain has it; the caller may add lint levels behind `--`.
    #[must_use]
    pub fn clippy(&self, toolchain: &Toolchain) -> Option<Command> {
        toolchain.clippy().map(|cargo| self.complete(cargo))
    }

    /// Where `build` leaves a binary.
    #[must_use]
    pub fn object(&self, name: &str) -> PathBuf {
        self.target_dir.join(self.target()).join("release").join(name)
    }

    fn complete(&self, mut cargo: Command) -> Command {
        cargo
            .current_dir(self.workspace)
            .args(["--release", "--bins", "-Zbuild-std=core"]);
        cargo
            .args(["--target", self.target()])
            .arg("--target-dir")
            .arg(self.target_dir);
        for package in self.packages {
            cargo.args(["--package", package]);
        }
        // Debug information is what BTF is made from; without it the maps have no types.
        let flags = format!(
            "--cfg=bpf_target_arch=\"{}\"\x1f-Cdebuginfo=2\x1f-Clink-arg=--btf",
            self.arch
        );
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
        cargo
    }

    fn target(&self) -> &'static str {
        if self.endian == "big" {
            "bpfeb-unknown-none"
        } else {
            "bpfel-unknown-none"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Job;
    use std::path::Path;

    #[test]
    fn objects_lie_below_the_target_of_the_byte_order() {
        let dir = Path::new("target/ebpf");
        let job = |endian| Job {
            workspace: Path::new("."),
            packages: &[],
            target_dir: dir,
            endian,
            arch: "x86_64",
        };
        assert_eq!(
            job("little").object("weir-tc"),
            dir.join("bpfel-unknown-none/release/weir-tc")
        );
        assert_eq!(
            job("big").object("weir-tc"),
            dir.join("bpfeb-unknown-none/release/weir-tc")
        );
    }
}
