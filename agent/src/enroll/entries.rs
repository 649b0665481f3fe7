//! Entries of hash maps, where one that is not there is nothing to complain about.

use std::io;

use aya::Pod;
use aya::maps::{HashMap, MapData, MapError};

use crate::datapath::{DatapathError, maps};

/// The value, if there is one.
///
/// # Errors
/// [`DatapathError::Map`] with the name of the `map`.
pub fn get<K: Pod, V: Pod>(
    entries: &HashMap<MapData, K, V>,
    key: &K,
    map: &'static str,
) -> Result<Option<V>, DatapathError> {
    match entries.get(key, 0) {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(source) => Err(maps::wrap(map)(source)),
    }
}

/// Removes an entry; one that is not there is fine.
///
/// # Errors
/// [`DatapathError::Map`] with the name of the `map`.
pub fn remove<K: Pod, V: Pod>(
    entries: &mut HashMap<MapData, K, V>,
    key: &K,
    map: &'static str,
) -> Result<(), DatapathError> {
    removed(entries.remove(key), map)
}

/// What was to be removed may be gone already.
///
/// # Errors
/// [`DatapathError::Map`] with the name of the `map`.
pub fn removed(result: Result<(), MapError>, map: &'static str) -> Result<(), DatapathError> {
    match result {
        Err(MapError::KeyNotFound) | Ok(()) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(maps::wrap(map)(source)),
    }
}
