//! Programs that the checks use and that cargo can build.

use std::path::PathBuf;

use anyhow::Result;
use weir_ebpf_build::tools_dir;

use crate::{process, workspace};

/// A program from a crate.
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
    version: &'static str,
}

pub(crate) const CARGO_DENY: Tool = Tool {
    program: "cargo-deny",
    package: "cargo-deny",
    version: "0.20.2",
};
pub(crate) const CARGO_FUZZ: Tool = Tool {
    program: "cargo-fuzz",
    package: "cargo-fuzz",
    version: "0.13.2",
};
pub(crate) const TYPOS: Tool = Tool {
    program: "typos",
    package: "typos-cli",
    version: "1.52.0",
};

impl Tool {
    /// The program's path; builds it first if this version is not there.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let tools = tools_dir();
        let path = tools.join("bin").join(self.program);
        let installed = std::fs::read_to_string(tools.join(".crates.toml")).unwrap_or_default();
        if !path.is_file() || !self.is_listed(&installed) {
            eprintln!(
                "x: building {} {} into {}, which takes a minute or two",
                self.package,
                self.version,
                tools.display()
            );
            let mut cargo = workspace::cargo()?;
            // A debug build takes half the time, and these programs are quick enough.
            cargo.args([
                "install",
                "--quiet",
                "--locked",
                "--debug",
                "--version",
                self.version,
                "--root",
            ]);
            process::run(cargo.arg(&tools).arg(self.package))?;
        }
        Ok(path)
    }

    /// Whether cargo's record of what it installed holds this version.
    fn is_listed(&self, record: &str) -> bool {
        record.contains(&format!("\"{} {} (", self.package, self.version))
    }
}

#[cfg(test)]
mod tests {
    use super::TYPOS;

    #[test]
    fn only_the_wanted_version_counts_as_installed() {
        let record = |version: &str| {
            format!("[v1]\n\"typos-cli {version} (registry+https://example)\" = [\"typos\"]\n")
        };
        assert!(TYPOS.is_listed(&record(TYPOS.version)));
        assert!(!TYPOS.is_listed(&record("1.0.0")));
        assert!(!TYPOS.is_listed(&record(&format!("{}0", TYPOS.version))));
        assert!(!TYPOS.is_listed(""));
    }
}
