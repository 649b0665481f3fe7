//! The files of one running proxy, in a directory of their own that goes with it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::unique::{self, Owner};

const LABEL: &str = "proxy";

/// A directory for a proxy's files.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    pub(super) fn new() -> io::Result<Self> {
        remove_orphans();
        let directory = std::env::temp_dir().join(unique::name(LABEL));
        DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self { directory })
    }

    /// Who is in the mesh, in the proxy's own format.
    pub(super) fn mesh(&self) -> PathBuf {
        self.directory.join("mesh.json")
    }

    /// The stand-in's records.
    pub(super) fn records(&self) -> PathBuf {
        self.directory.join("records.jsonl")
    }

    /// What the process prints.
    pub(super) fn output(&self) -> PathBuf {
        self.directory.join("output")
    }

    /// Replaces the mesh file as a whole, so that no reader sees half of it.
    pub(super) fn write_mesh(&self, mesh: &impl Serialize) -> io::Result<()> {
        let draft = self.directory.join("mesh.json.new");
        fs::write(&draft, serde_json::to_vec(mesh)?)?;
        fs::rename(draft, self.mesh())
    }

    /// Opens the output for a new process, and says where its part begins.
    pub(super) fn append_output(&self) -> io::Result<(File, u64)> {
        let file = File::options().create(true).append(true).open(self.output())?;
        let start = file.metadata()?.len();
        Ok((file, start))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory left in the temporary directory is no reason to fail a test.
        fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

/// Removes what processes that were killed could not remove themselves.
fn remove_orphans() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let ours = name.to_str().filter(|name| name.ends_with(LABEL));
        if ours
            .and_then(Owner::of_name)
            .is_some_and(|owner| !owner.is_alive())
        {
            // Another process may be doing the same.
            fs::remove_dir_all(entry.path()).unwrap_or_default();
        }
    }
}

/// The complete lines of a file from an offset on; none if the file does not exist yet.
pub(super) fn lines(path: &Path, offset: u64) -> Vec<String> {
    let text = read_from(path, offset).unwrap_or_default();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete.lines().map(str::to_owned).collect()
}

fn read_from(path: &Path, offset: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
