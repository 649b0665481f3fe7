//! Where Kubernetes' programs are.

use std::env;
use std::path::{Path, PathBuf};

/// The release that is built from source where no other is named, and the way in which it is built.
pub const RELEASE: &str = "1.20.2-2";

/// A program is missing.
#[derive(Debug, thiserror::Error)]
#[error("{} is missing: run `./x kube programs` once, or set KUBEBUILDER_ASSETS to a directory with {program}", directory.display())]
pub struct Missing {
    program: String,
    directory: PathBuf,
}

/// The directory that holds them.
pub fn directory() -> PathBuf {
    match env::var_os("KUBEBUILDER_ASSETS").filter(|assets| !assets.is_empty()) {
        Some(assets) => assets.into(),
        None => built(),
    }
}

/// Where those that are built from source are kept.
pub fn built() -> PathBuf {
    weir_ebpf_build::tools_dir().join("kube").join(RELEASE)
}

/// One of them.
///
/// # Errors
/// [`Missing`].
pub fn find(program: &str) -> Result<PathBuf, Missing> {
    let directory = directory();
    let candidates = [directory.join(program), Path::new("/usr/bin").join(program)];
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Missing {
            program: program.to_owned(),
            directory: directory.join(program),
        })
}
