//! Where the workspace is, and its cargo.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

/// The root of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    let xtask =
        env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set: run this as ./x")?;
    Ok(Path::new(&xtask)
        .parent()
        .context("xtask has no parent directory")?
        .to_owned())
}

/// The cargo that started us, in the root of the workspace.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    Ok(command)
}

/// The compiler that cargo calls.
pub(crate) fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// The target directory that this program was built into.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let program = env::current_exe().context("finding this program")?;
    Ok(program
        .ancestors()
        .nth(2)
        .context("this program lies in no target directory")?
        .to_owned())
}

/// The files that git tracks or would track, relative to the root.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(root()?)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().context("starting git")?;
    anyhow::ensure!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(names.split_terminator('\0').map(PathBuf::from).collect())
}

/// The text of a file; `None` for what is gone from the tree, or is no text.
pub(crate) fn text(file: &Path) -> Result<Option<String>> {
    Ok(fs::read(root()?.join(file))
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok()))
}
