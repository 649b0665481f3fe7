//! Where bpf-linker is.

use std::env;
use std::path::{Path, PathBuf};

/// The directory for tools that `./x` installs; outside the tree, so that every clone shares it.
#[must_use]
pub fn tools_dir() -> PathBuf {
    if let Some(dir) = env::var_os("WEIR_TOOLS").filter(|dir| !dir.is_empty()) {
        return dir.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from);
    cache
        .or_else(|| Some(env::home_dir()?.join(".cache")))
        .unwrap_or_default()
        .join("weir/tools")
}

/// The linker that `./x` built.
pub(crate) fn own() -> Option<PathBuf> {
    linker_in(&tools_dir().join("bin"))
}

/// The linker that the developer installed.
pub(crate) fn on_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find_map(|dir| linker_in(&dir))
}

fn linker_in(dir: &Path) -> Option<PathBuf> {
    Some(dir.join("bpf-linker")).filter(|path| path.is_file())
}
