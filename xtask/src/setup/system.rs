//! The distribution we are on, and its packages.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;

/// How packages are installed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packager {
    Apt,
    Dnf,
    Unknown,
}

/// What decides how a missing piece comes to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct System {
    /// `debian`, `ubuntu`, `fedora`.
    id: String,
    version: String,
    family: String,
    pub(super) is_root: bool,
}

impl System {
    pub(crate) fn read() -> Result<Self> {
        let release = ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|path| fs::read_to_string(path).ok());
        let user = fs::metadata("/proc/self")
            .context("reading who we are from /proc/self")?
            .uid();
        Ok(Self::parse(&release.unwrap_or_default(), user == 0))
    }

    pub(super) fn parse(os_release: &str, is_root: bool) -> Self {
        let field = |name: &str| {
            let line = os_release
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default()
                .trim()
                .trim_matches(['"', '\''])
                .to_owned()
        };
        Self {
            id: field("ID"),
            version: field("VERSION_ID"),
            family: field("ID_LIKE"),
            is_root,
        }
    }

    /// Debian 12 is the one release whose own packages can compile eBPF; they came with its security updates.
    pub(super) fn has_rustc_web(&self) -> bool {
        self.id == "debian" && self.version == "12"
    }

    pub(super) fn packager(&self) -> Packager {
        let is = |name: &str| self.id == name || self.family.split_whitespace().any(|like| like == name);
        match () {
            () if is("debian") || is("ubuntu") => Packager::Apt,
            () if is("fedora") || is("rhel") => Packager::Dnf,
            () => Packager::Unknown,
        }
    }

    /// Makes sure that a program is on PATH.
    pub(crate) fn require_program(&self, program: &str, package: &str) -> Result<()> {
        if process::is_on_path(program) {
            Ok(())
        } else {
            self.require_package(program, package)
        }
    }

    /// Makes sure that a program is there, whatever PATH says.
    pub(crate) fn require_file(&self, program: &str, package: &str) -> Result<()> {
        if Path::new(program).is_file() {
            Ok(())
        } else {
            self.require_package(program, package)
        }
    }

    /// Makes sure that Debian's packages are installed.
    pub(crate) fn require_packages(&self, packages: &[&str]) -> Result<()> {
        if self.packager() != Packager::Apt {
            bail!("this needs Debian's packages {}", packages.join(" "));
        }
        match missing(packages)?.as_slice() {
            [] => Ok(()),
            missing if self.is_root => apt_install(missing),
            missing => bail!(
                "type this, then try again:\n\n    sudo apt-get install --no-install-recommends {}\n",
                missing.join(" ")
            ),
        }
    }

    fn require_package(&self, program: &str, package: &str) -> Result<()> {
        match self.packager() {
            Packager::Apt if self.is_root => apt_install(&[package]),
            Packager::Apt => bail!("{program} is missing: sudo apt-get install {package}"),
            Packager::Dnf => bail!("{program} is missing: sudo dnf install {package}"),
            Packager::Unknown => bail!("{program} is missing: install the package {package}"),
        }
    }
}

/// Those of `packages` that are not installed.
pub(super) fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut query = Command::new("dpkg-query");
    query
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(packages)
        .stderr(Stdio::null());
    let output = query.output().context("starting dpkg-query")?;
    Ok(not_listed(packages, &String::from_utf8_lossy(&output.stdout)))
}

fn not_listed<'a>(packages: &[&'a str], listing: &str) -> Vec<&'a str> {
    let installed: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    packages
        .iter()
        .filter(|package| !installed.contains(package))
        .copied()
        .collect()
}

pub(super) fn apt_install(packages: &[&str]) -> Result<()> {
    eprintln!("x: installing {} with apt-get", packages.join(" "));
    process::run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    process::run(
        install
            .args(["install", "--yes", "-qq", "--no-install-recommends"])
            .args(packages),
    )
}

#[cfg(test)]
mod tests {
    use super::{Packager, System, not_listed};

    const BOOKWORM: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";

    #[test]
    fn only_debian_12_has_the_packages() {
        assert!(System::parse(BOOKWORM, true).has_rustc_web());
        assert!(!System::parse("ID=debian\nVERSION_ID=\"13\"\n", true).has_rustc_web());
        assert!(!System::parse("ID=ubuntu\nVERSION_ID=\"12\"\n", true).has_rustc_web());
        assert!(!System::parse("", true).has_rustc_web());
    }

    #[test]
    fn a_derivative_is_known_by_its_family() {
        for (release, packager) in [
            (BOOKWORM, Packager::Apt),
            ("ID=ubuntu\nID_LIKE=debian\n", Packager::Apt),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Packager::Apt),
            ("ID=fedora\n", Packager::Dnf),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Packager::Dnf),
            ("ID=arch\n", Packager::Unknown),
            ("", Packager::Unknown),
        ] {
            assert_eq!(System::parse(release, false).packager(), packager, "{release:?}");
        }
    }

    #[test]
    fn a_package_that_was_removed_but_left_its_configuration_is_missing() {
        let listing = "rustc-web installed\ncargo-web config-files\n";
        assert_eq!(
            not_listed(&["rustc-web", "cargo-web", "llvm-22-dev"], listing),
            ["cargo-web", "llvm-22-dev"]
        );
    }
}
