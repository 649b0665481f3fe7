//! The runtime's directory of network configurations, as runtimes read it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::CONFLIST;
use super::error::ConfError;

/// A larger file is none.
const LARGEST: u64 = 1 << 20;

/// The configurations, in the order in which runtimes try them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Configurations {
    /// Where they are.
    pub(super) directory: PathBuf,
    /// Names and texts of all but ours. A file that cannot be read has no text.
    pub(super) others: Vec<(String, Option<String>)>,
    /// Ours.
    pub(super) ours: Option<String>,
}

/// Reads the directory.
pub(super) fn read(directory: &Path) -> Result<Configurations, ConfError> {
    let list = || -> io::Result<Vec<String>> {
        let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    };
    let mut names = list().map_err(ConfError::at("read", directory))?;
    names.retain(|name| is_configuration(name));
    names.sort_unstable();
    let mut found = Configurations {
        directory: directory.to_owned(),
        ..Configurations::default()
    };
    for name in names {
        let text = read_text(&directory.join(&name));
        if name == CONFLIST {
            found.ours = text;
        } else {
            found.others.push((name, text));
        }
    }
    Ok(found)
}

fn is_configuration(name: &str) -> bool {
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str());
    matches!(extension, Some("conf" | "conflist" | "json"))
}

fn read_text(path: &Path) -> Option<String> {
    let is_small = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LARGEST);
    is_small.then(|| fs::read_to_string(path).ok()).flatten()
}
