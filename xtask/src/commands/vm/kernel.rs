//! Debian's kernels: the newest package of a series, unpacked outside the tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result};

use crate::process::run;

const PACKAGE: &str = "linux-image-";
const FLAVOUR: &str = "-amd64";

/// An unpacked kernel.
pub(super) struct Kernel {
    pub(super) release: String,
    pub(super) directory: PathBuf,
}

/// Where kernels are kept.
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn open() -> Self {
        Self(weir_ebpf_build::tools_dir().join("vm"))
    }

    /// The newest kernel of a series, such as `6.12`; fetches it if it is not there.
    pub(super) fn kernel(&self, series: &str) -> Result<Kernel> {
        let known = [offered(series)?, self.kept()].concat();
        let release = newest(series, &known).with_context(|| {
            format!(
                "no kernel {series} is available: neither apt-get as it is configured here (is `apt-get update` due?) \
                 nor {} has a package {PACKAGE}{series}.…{FLAVOUR}",
                self.0.display()
            )
        })?;
        let directory = self.0.join(&release);
        if !directory.is_dir() {
            self.fetch(&release, &directory)?;
        }
        Ok(Kernel { release, directory })
    }

    fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// The directory gets its name last, so whoever sees it finds it whole.
    fn fetch(&self, release: &str, directory: &Path) -> Result<()> {
        let partial = self.0.join(format!(".{release}.{}", process::id()));
        let download = partial.join("download");
        fs::create_dir_all(&download).with_context(|| format!("making {}", download.display()))?;
        let package = format!("{PACKAGE}{release}");
        eprintln!("x: downloading {package} into {}", self.0.display());
        let unpacked = unpack(&package, release, &download, &partial);
        if let Err(error) = unpacked {
            fs::remove_dir_all(&partial).ok();
            return Err(error);
        }
        match fs::rename(&partial, directory) {
            // Another `./x vm` was quicker.
            Err(_) if directory.is_dir() => Ok(fs::remove_dir_all(&partial)?),
            renamed => renamed.with_context(|| format!("making {}", directory.display())),
        }
    }
}

fn unpack(package: &str, release: &str, download: &Path, target: &Path) -> Result<()> {
    // apt-get would drop root to write here, and warns that it cannot.
    let mut apt = Command::new("apt-get");
    apt.current_dir(download)
        .args(["-qq", "-o", "APT::Sandbox::User=root", "download", package]);
    run(&mut apt)?;
    for entry in fs::read_dir(download)? {
        run(Command::new("dpkg")
            .arg("--extract")
            .arg(entry?.path())
            .arg(target))?;
    }
    fs::remove_dir_all(download)?;
    run(Command::new("/sbin/depmod")
        .arg("--basedir")
        .arg(target)
        .arg(release))
}

/// The releases that apt-get can download.
fn offered(series: &str) -> Result<Vec<String>> {
    let pattern = format!("^{PACKAGE}{}\\.", series.replace('.', "\\."));
    let output = Command::new("apt-cache")
        .args(["search", "--names-only", &pattern])
        .output()
        .context("starting apt-cache: kernels come from Debian's packages")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    Ok(listing
        .lines()
        .filter_map(|line| {
            line.split_whitespace()
                .next()?
                .strip_prefix(PACKAGE)
                .map(str::to_owned)
        })
        .collect())
}

/// The newest release of a series in the general flavour; the others lack the file system that a guest lives on.
fn newest(series: &str, releases: &[String]) -> Option<String> {
    let is_general = |release: &&String| {
        let rest = release
            .strip_prefix(series)
            .and_then(|rest| rest.strip_prefix('.'));
        rest.and_then(|rest| rest.strip_suffix(FLAVOUR))
            .is_some_and(|rest| !rest.ends_with("-cloud") && !rest.ends_with("-rt"))
    };
    releases
        .iter()
        .filter(is_general)
        .max_by_key(|release| numbers(release))
        .cloned()
}

/// What releases are ordered by.
fn numbers(release: &str) -> Vec<u64> {
    release
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_is_by_number_in_its_series_and_flavour() {
        let releases = [
            "6.1.0-9-amd64",
            "6.1.0-47-amd64",
            "6.1.0-48-cloud-amd64",
            "6.1.0-48-rt-amd64",
            "6.1.0-48-amd64-unsigned",
            ".6.1.0-49-amd64.123",
            "6.12.107+deb12-amd64",
            "6.12.99+deb12-amd64",
        ]
        .map(str::to_owned);
        assert_eq!(newest("6.1", &releases).unwrap(), "6.1.0-47-amd64");
        assert_eq!(newest("6.12", &releases).unwrap(), "6.12.107+deb12-amd64");
        assert_eq!(newest("5.10", &releases), None);
        assert_eq!(newest("6", &[]), None);
    }
}
