//! What to do on this machine when nothing on it can compile eBPF.

use std::path::Path;

use super::system::{Packager, System};

/// Debian 12's compiler with the source of `core`, and the LLVM that it was built with.
pub(super) const DEBIAN_PACKAGES: &[&str] = &[
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "llvm-22-dev",
    "g++",
];
/// Where `llvm-22-dev` puts LLVM.
pub(super) const DEBIAN_LLVM: &str = "/usr/lib/llvm-22";
const LINKER_VERSION: &str = "0.10.3";

/// The way to a toolchain.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remedy<'a> {
    /// We can do it: install these packages, then build the linker if it is not there.
    Install(&'a [&'a str]),
    /// The developer has to: these commands do it.
    Type(Vec<String>),
}

/// Chooses the way. `missing` are the packages of [`DEBIAN_PACKAGES`] that are not installed.
pub(super) fn remedy<'a>(
    system: &System,
    missing: &'a [&'a str],
    has_rustup: bool,
    tools: &Path,
) -> Remedy<'a> {
    if system.has_rustc_web() {
        // Building the linker takes no rights, installing packages does.
        if system.is_root || missing.is_empty() {
            return Remedy::Install(missing);
        }
        return Remedy::Type(vec![
            format!(
                "sudo apt-get install --no-install-recommends {}",
                missing.join(" ")
            ),
            format!(
                "LLVM_PREFIX={DEBIAN_LLVM} cargo {}",
                linker_arguments(tools).join(" ")
            ),
        ]);
    }
    let rustup = match system.packager() {
        _ if has_rustup => None,
        Packager::Apt => Some("sudo apt-get install rustup"),
        Packager::Dnf => Some("sudo dnf install rustup && rustup-init -y && . ~/.cargo/env"),
        Packager::Unknown => Some("# install rustup as https://rustup.rs says"),
    };
    let rest = [
        "rustup toolchain install nightly --profile minimal --component rust-src",
        "cargo install --locked cargo-binstall",
        "cargo binstall --no-confirm bpf-linker",
    ];
    Remedy::Type(rustup.into_iter().chain(rest).map(str::to_owned).collect())
}

/// What cargo is told to build the linker against Debian's LLVM.
pub(super) fn linker_arguments(tools: &Path) -> Vec<String> {
    let mut arguments = vec!["install", "bpf-linker", "--version", LINKER_VERSION];
    arguments.extend(["--no-default-features", "--features", "llvm-22", "--root"]);
    arguments
        .into_iter()
        .map(str::to_owned)
        .chain([tools.display().to_string()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{DEBIAN_PACKAGES, Remedy, remedy};
    use crate::setup::system::System;
    use std::path::Path;

    const BOOKWORM: &str = "ID=debian\nVERSION_ID=\"12\"\n";

    fn typed(os_release: &str, missing: &[&str], has_rustup: bool) -> Vec<String> {
        match remedy(
            &System::parse(os_release, false),
            missing,
            has_rustup,
            Path::new("/tools"),
        ) {
            Remedy::Type(commands) => commands,
            Remedy::Install(packages) => panic!("would install {packages:?}"),
        }
    }

    #[test]
    fn root_on_debian_12_gets_what_is_missing() {
        let system = System::parse(BOOKWORM, true);
        let remedy = remedy(&system, &["rust-web-src"], true, Path::new("/tools"));
        assert_eq!(remedy, Remedy::Install(&["rust-web-src"]));
    }

    #[test]
    fn without_root_the_linker_alone_is_built_and_packages_are_asked_for() {
        let system = System::parse(BOOKWORM, false);
        assert_eq!(
            remedy(&system, &[], false, Path::new("/tools")),
            Remedy::Install(&[])
        );
        let commands = typed(BOOKWORM, DEBIAN_PACKAGES, false);
        assert!(
            commands[0].starts_with("sudo apt-get install") && commands[0].contains("rustc-web"),
            "{commands:?}"
        );
        assert_eq!(
            commands[1],
            "LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.10.3 \
             --no-default-features --features llvm-22 --root /tools"
        );
    }

    #[test]
    fn elsewhere_it_is_rustups_nightly_and_rustup_comes_first() {
        let nightly = "rustup toolchain install nightly --profile minimal --component rust-src";
        assert_eq!(typed("ID=ubuntu\nID_LIKE=debian\n", &[], true)[0], nightly);
        for (release, first) in [
            ("ID=ubuntu\nID_LIKE=debian\n", "sudo apt-get install rustup"),
            ("ID=debian\nVERSION_ID=\"13\"\n", "sudo apt-get install rustup"),
            ("ID=fedora\n", "sudo dnf install rustup"),
            ("ID=arch\n", "# install rustup"),
        ] {
            let commands = typed(release, &[], false);
            assert!(commands[0].starts_with(first), "{commands:?}");
            assert_eq!(commands[1], nightly);
            assert!(commands.last().unwrap().contains("bpf-linker"));
        }
    }
}
