//! `./x test fuzz`: libFuzzer, by cargo fuzz.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};

use crate::{process, setup, workspace};

/// The programs of the crate `fuzz`.
const TARGETS: [&str; 3] = ["cni_configuration", "cni_plugin", "netlink"];
/// How long each is fuzzed; `WEIR_FUZZ_SECONDS` says otherwise.
const SECONDS: &str = "60";

/// Fuzzes the named targets, or all.
pub(super) fn run(named: &[String]) -> Result<()> {
    let unknown = named.iter().find(|name| !TARGETS.contains(&name.as_str()));
    ensure!(
        unknown.is_none(),
        "there is no target {}: {}",
        unknown.map_or("", |name| name),
        TARGETS.join(", ")
    );
    let is_wanted = |target: &&str| named.is_empty() || named.iter().any(|name| name == target);
    setup::System::read()?.require_program("c++", "g++")?;
    let cargo_fuzz = setup::CARGO_FUZZ.path()?;
    TARGETS
        .into_iter()
        .filter(is_wanted)
        .try_for_each(|target| fuzz(&cargo_fuzz, target))
}

fn fuzz(cargo_fuzz: &Path, target: &str) -> Result<()> {
    let root = workspace::root()?;
    let work = workspace::target_dir()?.join("fuzz");
    // What is found goes into the first directory; the seeds are only read.
    let corpus = work.join("corpus").join(target);
    let crashes = work.join("crashes").join(target);
    for directory in [&corpus, &crashes] {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let mut command = Command::new(cargo_fuzz);
    command
        .current_dir(&root)
        .args(["run", "--fuzz-dir", "fuzz"])
        .arg("--target-dir")
        .arg(&work);
    compiler(&mut command);
    command
        // Nothing of it is shipped, and it is linked anew each time.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .arg(target)
        .arg(&corpus)
        .arg(root.join("fuzz/seeds").join(target))
        .arg("--")
        .arg(format!("-max_total_time={}", seconds()))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .args([
            "-print_final_stats=1",
            "-verbosity=0",
            "-print_funcs=0",
            "-timeout=10",
        ]);
    eprintln!("x: fuzzing {target} for {} s", seconds());
    process::run(&mut command)
        .with_context(|| format!("{target} fails; the input is in {}", crashes.display()))
}

fn seconds() -> String {
    env::var("WEIR_FUZZ_SECONDS").unwrap_or_else(|_| SECONDS.to_owned())
}

/// Nightly can look for broken memory too; the stable compiler is told to take the flags that coverage needs.
fn compiler(command: &mut Command) {
    if nightly_has_sources() {
        command
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .env_remove("CARGO")
            .env_remove("RUSTC");
    } else {
        command.env("RUSTC_BOOTSTRAP", "1").args(["--sanitizer", "none"]);
    }
}

fn nightly_has_sources() -> bool {
    let sysroot = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .output();
    sysroot.is_ok_and(|output| {
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&path).join("lib/rustlib/src/rust/library").is_dir()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::TARGETS;
    use crate::workspace;

    #[test]
    fn every_target_is_fuzzed() {
        let directory = workspace::root().unwrap().join("fuzz/targets");
        let mut found: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_owned())
            .collect();
        found.sort();
        assert_eq!(found, TARGETS);
    }
}
