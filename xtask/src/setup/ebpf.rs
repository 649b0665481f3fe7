//! The toolchain that compiles for the kernel.

use anyhow::{Context, Result, bail};
use weir_ebpf_build::{NotFound, Toolchain, tools_dir};

use super::remedy::{DEBIAN_LLVM, DEBIAN_PACKAGES, Remedy, linker_arguments, remedy};
use super::system::{self, System};
use crate::{process, workspace};

/// Finds the toolchain, or installs it where we can, and says in a line which it is.
pub(crate) fn ebpf_toolchain() -> Result<Toolchain> {
    let toolchain = match Toolchain::find() {
        Ok(toolchain) => toolchain,
        // Somebody chose: putting another one in its place would be no help.
        Err(chosen @ (NotFound::Named { .. } | NotFound::NamedWithoutLinker(_))) => return Err(chosen.into()),
        Err(nothing @ NotFound::Nothing { .. }) => {
            eprintln!("x: {nothing}");
            install()?;
            Toolchain::find().context("the eBPF toolchain is still not complete after installing it")?
        }
    };
    eprintln!("x: eBPF toolchain: {toolchain}");
    Ok(toolchain)
}

fn install() -> Result<()> {
    let system = System::read()?;
    let missing = if system.has_rustc_web() {
        system::missing(DEBIAN_PACKAGES)?
    } else {
        Vec::new()
    };
    let tools = tools_dir();
    match remedy(&system, &missing, process::is_on_path("rustup"), &tools) {
        Remedy::Type(commands) => bail!(
            "type these commands, then try again:\n\n    {}\n",
            commands.join("\n    ")
        ),
        Remedy::Install(packages) => {
            if !packages.is_empty() {
                system::apt_install(packages)?;
            }
            if !tools.join("bin/bpf-linker").is_file() {
                eprintln!(
                    "x: building bpf-linker into {}, which takes a minute or two",
                    tools.display()
                );
                let mut cargo = workspace::cargo()?;
                cargo
                    .env("LLVM_PREFIX", DEBIAN_LLVM)
                    .args(linker_arguments(&tools))
                    .args(["--quiet", "--locked"]);
                process::run(&mut cargo)?;
            }
            Ok(())
        }
    }
}
