//! How full the maps are.

use std::os::fd::AsFd as _;

use weir_common::names::map;

use super::sys::{self, RawMap};
use super::{DatapathError, Pins};

/// Maps that grow with pods and their rules. Those that make room by themselves when they are full, and that hold as
/// many entries as there are connections, are left out.
const MAPS: [&str; 12] = [
    map::PODS,
    map::OWN_ADDRESSES,
    map::PODS_BY_ADDRESS,
    map::LISTENERS,
    map::NEWEST,
    map::ZTUNNELS,
    map::PORT_RULES,
    map::RANGE_RULES,
    map::VIRTUAL_INTERFACES,
    map::LOCAL_PODS,
    map::HOST_INTERFACES,
    map::COUNTERS,
];

/// One map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Its name.
    pub map: &'static str,
    /// Entries in it.
    pub entries: u64,
    /// Entries that it has room for.
    pub capacity: u32,
}

/// Counts the entries of the maps.
///
/// # Errors
/// [`DatapathError`] if a map cannot be read.
pub fn read(pins: &Pins) -> Result<Vec<Fill>, DatapathError> {
    MAPS.into_iter()
        .filter(|name| !map::OF_REDIRECT.contains(name) || pins.map(name).exists())
        .map(|name| one(pins, name))
        .collect()
}

fn one(pins: &Pins, name: &'static str) -> Result<Fill, DatapathError> {
    let fd = sys::obj_get(&pins.map(name))?;
    let capacity = sys::map_info(fd.as_fd())?.max_entries;
    let map = RawMap::new(fd)?;
    let failed = |source| DatapathError::Fill { map: name, source };
    let mut entries = 0;
    let mut key = map.next_key(None).map_err(failed)?;
    // A key that goes while it is looked at begins the walk anew; the bound ends it.
    while let Some(last) = key.filter(|_| entries < u64::from(capacity)) {
        entries += 1;
        key = map.next_key(Some(&last)).map_err(failed)?;
    }
    Ok(Fill {
        map: name,
        entries,
        capacity,
    })
}
