//! `./x clean`.

use anyhow::Result;

use crate::{process, workspace};

pub(super) fn run(arguments: &[String]) -> Result<()> {
    super::no_arguments(arguments)?;
    process::run(workspace::cargo()?.arg("clean"))?;
    let tools = weir_ebpf_build::tools_dir();
    if tools.exists() {
        eprintln!(
            "x: tools that other clones may share are left in {}",
            tools.display()
        );
    }
    Ok(())
}
