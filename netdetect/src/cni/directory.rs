//! A directory of CNI configuration, read as container runtimes do.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::config::{ConfigError, LONGEST, Network, parse};

/// The endings of files that runtimes look at.
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];

/// What a directory holds.
#[derive(Debug, Serialize)]
pub struct Configuration {
    /// The directory.
    pub directory: PathBuf,
    /// The networks that can be used, in the order of their files' names; the runtime uses the first.
    pub networks: Vec<Network>,
    /// What is wrong with the others.
    #[serde(serialize_with = "as_text")]
    pub problems: Vec<ConfigError>,
}

impl Configuration {
    /// The network that the runtime uses: the first that can be used.
    #[must_use]
    pub fn picked(&self) -> Option<&Network> {
        self.networks.first()
    }

    /// Files of istio-cni, and of others that call it.
    pub fn with_istio_cni(&self) -> impl Iterator<Item = &Network> {
        let calls = |network: &&Network| network.all_plugins().any(|plugin| plugin.kind == "istio-cni");
        self.networks.iter().filter(calls)
    }
}

/// Reads all files of a directory. What is wrong with one does not hinder the others.
#[must_use]
pub fn read(directory: &Path) -> Configuration {
    let mut configuration = Configuration {
        directory: directory.to_owned(),
        networks: Vec::new(),
        problems: Vec::new(),
    };
    let paths = match files(directory) {
        Ok(paths) => paths,
        Err(problem) => {
            configuration.problems.push(problem);
            return configuration;
        }
    };
    for path in paths {
        match text(&path).and_then(|text| parse(&path, &text)) {
            Ok(network) => configuration.networks.push(network),
            Err(problem) => configuration.problems.push(problem),
        }
    }
    configuration
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::Directory {
        path: directory.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        // A pipe would keep its reader waiting.
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(LONGEST + 1).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

fn as_text<S: Serializer>(problems: &[ConfigError], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(problems.iter().map(ToString::to_string))
}
