//! Removal of everything that Weir keeps in the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use weir_common::names::map;

use super::pins::remove_tree;
use super::{DatapathError, Maps, Pins};

/// Detaches and removes all programs and maps below `root`, of every layout version. Programs that capture go first:
/// connections then pass uncaptured rather than half captured.
///
/// # Errors
/// The first [`DatapathError`]; what could be removed is.
pub fn remove(root: &Path) -> Result<(), DatapathError> {
    let mut removed = Ok(());
    for pins in layouts(root)? {
        removed = removed
            .and(remove_tree(&pins.links()))
            .and(remove_tree(&pins.pods()));
    }
    removed.and(remove_tree(root))
}

/// The pins of all layouts below `root`, ours first.
///
/// # Errors
/// [`DatapathError`] if they cannot be listed.
pub fn layouts(root: &Path) -> Result<Vec<Pins>, DatapathError> {
    let ours = Pins::new(root);
    let others = ours.others()?;
    let all = std::iter::once(ours).chain(others);
    Ok(all.filter(|pins| pins.base().exists()).collect())
}

/// Netns cookies of the pods that have links or an entry.
///
/// # Errors
/// [`DatapathError`] if the pins cannot be read.
pub fn known_netns(pins: &Pins) -> Result<BTreeSet<u64>, DatapathError> {
    let mut found: BTreeSet<u64> = enrolled_netns(pins)?.into_iter().collect();
    if pins.map(map::PODS).exists() {
        found.extend(Maps::adopt(pins).pods()?.keys().filter_map(Result::ok));
    }
    Ok(found)
}

/// Netns cookies of the pods that have links.
///
/// # Errors
/// [`DatapathError`] if the pins cannot be read.
pub fn enrolled_netns(pins: &Pins) -> Result<Vec<u64>, DatapathError> {
    let directory = pins.pods();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(DatapathError::io(&directory))?,
    };
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}
