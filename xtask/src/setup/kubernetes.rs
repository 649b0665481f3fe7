//! Kubernetes' programs, for tests against a real API server.
//!
//! Debian has them as source alone, of an old release; what newer releases dropped is not used, and what they added is
//! tested as text. It takes four CPU minutes to build the API server, once per machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result, ensure};
use weir_ebpf_build::tools_dir;

use super::system::System;
use crate::process::run;

const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// The release and our way to build it, as `weir-kube` knows it.
const RELEASE: &str = "1.20.2-2";
/// The release's own copy relies on how Go's maps were before 1.18: with today's Go it crashes now and then.
const REFLECT: &str = "github.com/modern-go/reflect2";
const PACKAGES: &[&str] = &[
    "dpkg-dev",
    "etcd-server",
    "golang-github-modern-go-reflect2-dev",
    "golang-go",
    "jq",
    "make",
    "openssl",
    "rsync",
    "util-linux",
];

/// What an API server alone takes.
pub(crate) const API_SERVER: &[&str] = &["kube-apiserver"];
/// What a cluster takes.
pub(crate) const CLUSTER: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
];

/// The directory with these programs and etcd; builds them first if nobody named one and they are not there.
pub(crate) fn kubernetes(programs: &[&str]) -> Result<PathBuf> {
    if let Some(assets) = env::var_os(ASSETS).filter(|assets| !assets.is_empty()) {
        let assets = PathBuf::from(assets);
        for program in programs.iter().chain(&["etcd"]) {
            let path = assets.join(program);
            ensure!(
                path.is_file(),
                "{ASSETS} is {}, which has no {program}",
                assets.display()
            );
        }
        return Ok(assets);
    }
    let kept = tools_dir().join("kube").join(RELEASE);
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|program| !kept.join(program).is_file())
        .collect();
    let system = System::read()?;
    system.require_packages(PACKAGES).with_context(|| {
        format!("tests against a real API server need Kubernetes: set {ASSETS} to a directory with kube-apiserver and etcd")
    })?;
    if !missing.is_empty() {
        build(&missing, &kept)?;
    }
    Ok(kept)
}

fn build(programs: &[&str], kept: &Path) -> Result<()> {
    let (names, place) = (programs.join(" "), kept.display());
    eprintln!(
        "x: building {names} {RELEASE} from Debian's source package into {place}, which takes some minutes"
    );
    fs::create_dir_all(kept).with_context(|| format!("making {place}"))?;
    let work = kept.with_file_name(format!(".{RELEASE}.{}", process::id()));
    let built = fetch(&work).and_then(|source| compile(&source, programs, kept));
    fs::remove_dir_all(&work).ok();
    built
}

/// Unpacks the source package, by lists of packages of our own: most machines are not set up for sources.
fn fetch(work: &Path) -> Result<PathBuf> {
    let lists = work.join("lists");
    fs::create_dir_all(lists.join("partial")).with_context(|| format!("making {}", lists.display()))?;
    let sources = work.join("sources.list");
    fs::write(&sources, source_line()?).with_context(|| format!("writing {}", sources.display()))?;
    let apt = || {
        let mut apt = Command::new("apt-get");
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        apt.current_dir(work)
            .args(["-qq", "-o", "APT::Sandbox::User=root"]);
        apt.arg("-o").arg(option("Dir::Etc::sourcelist", &sources));
        apt.args(["-o", "Dir::Etc::sourceparts=-", "-o"])
            .arg(option("Dir::State::lists", &lists));
        apt
    };
    run(apt().arg("update"))?;
    run(apt().args(["source", "kubernetes"]))?;
    let entries = fs::read_dir(work).with_context(|| format!("reading {}", work.display()))?;
    let mut directories = entries.flatten().map(|entry| entry.path());
    directories
        .find(|path| path.is_dir() && path.join("cmd/kube-apiserver").is_dir())
        .context("the source package kubernetes has no cmd/kube-apiserver")
}

/// The archive that this machine has its packages from, as one of sources.
fn source_line() -> Result<String> {
    let targets = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
        .output()
        .context("starting apt-get")?;
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let release = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let release = release.context("/etc/os-release names no VERSION_CODENAME")?;
    let archive = archive(&String::from_utf8_lossy(&targets.stdout), release);
    let archive = archive
        .with_context(|| format!("apt-get has no packages of {release}, so their sources are not known"))?;
    Ok(format!(
        "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {archive} {release} main\n"
    ))
}

fn archive(targets: &str, release: &str) -> Option<String> {
    let lines = targets.lines().filter_map(|line| line.split_once(' '));
    let mut of_release = lines.filter(|(_, other)| *other == release);
    of_release.next().map(|(archive, _)| archive.to_owned())
}

fn compile(source: &Path, programs: &[&str], kept: &Path) -> Result<()> {
    replace_reflect(source)?;
    // The makefile wants the tree to be where Go's modules were before there were modules.
    let path = source.join(".go");
    let home = path.join("src/k8s.io");
    fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
    std::os::unix::fs::symlink(source, home.join("kubernetes")).context("linking the source tree")?;
    let what: Vec<String> = programs.iter().map(|program| format!("cmd/{program}")).collect();
    let mut make = Command::new("make");
    make.current_dir(source).arg(format!("WHAT={}", what.join(" ")));
    // Whatever is not in the tree is not wanted.
    make.env("CGO_ENABLED", "0")
        .env("GOPROXY", "off")
        .env("GOPATH", &path);
    run(&mut make)?;
    for program in programs {
        let draft = kept.join(format!(".{program}.{}", process::id()));
        let made = source.join("_output/bin").join(program);
        fs::copy(&made, &draft).with_context(|| format!("copying {}", made.display()))?;
        // It gets its name last, so whoever sees it finds it whole.
        fs::rename(&draft, kept.join(program)).with_context(|| format!("making {program}"))?;
    }
    Ok(())
}

fn replace_reflect(source: &Path) -> Result<()> {
    let old = source.join("vendor").join(REFLECT);
    let new = Path::new("/usr/share/gocode/src").join(REFLECT);
    fs::remove_dir_all(&old).with_context(|| format!("removing {}", old.display()))?;
    run(Command::new("cp")
        .args(["--recursive", "--dereference"])
        .arg(new)
        .arg(old))
}

#[cfg(test)]
mod tests {
    use super::archive;

    #[test]
    fn sources_come_from_where_packages_do() {
        let targets = "http://security.example/debian-security bookworm-security\n\
                       http://mirror.example/debian bookworm-updates\nhttp://mirror.example/debian bookworm\n";
        assert_eq!(
            archive(targets, "bookworm").unwrap(),
            "http://mirror.example/debian"
        );
        assert_eq!(archive(targets, "trixie"), None);
    }
}
