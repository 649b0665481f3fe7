//! How full the maps are.

use weir_common::names::map;

use super::{DatapathError, Maps};

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
pub fn read(maps: &Maps) -> Result<Vec<Fill>, DatapathError> {
    MAPS.into_iter()
        .filter(|name| !map::OF_REDIRECT.contains(name) || maps.exists(name))
        .map(|name| one(maps, name))
        .collect()
}

fn one(maps: &Maps, name: &'static str) -> Result<Fill, DatapathError> {
    let map = maps.raw(name)?;
    let capacity = map.max_entries();
    let entries = count(capacity, |last| map.next_key(last));
    Ok(Fill {
        map: name,
        entries: entries.map_err(|source| DatapathError::Bytes { map: name, source })?,
        capacity,
    })
}

/// A key that goes while it is looked at begins the walk anew, and with it the count; so many steps at most, whoever
/// takes keys away meanwhile.
fn count<E>(
    capacity: u32,
    mut next: impl FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>, E>,
) -> Result<u64, E> {
    let first = next(None)?;
    let mut entries = u64::from(first.is_some());
    let mut key = first.clone();
    for _ in 1..capacity {
        let Some(last) = key else { break };
        key = next(Some(&last))?;
        entries = match &key {
            None => entries,
            Some(_) if key == first => 1,
            Some(_) => entries + 1,
        };
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::count;

    /// A map with these keys, of which `goes` goes as soon as it has been told.
    fn counted(capacity: u32, keys: &[u8], goes: Option<u8>) -> u64 {
        let mut keys = keys.to_vec();
        let counted = count(capacity, |last| {
            let at = last.and_then(|last| keys.iter().position(|key| *key == last[0]));
            let next = keys.get(at.map_or(0, |at| at + 1)).copied();
            keys.retain(|key| next != goes || Some(*key) != goes);
            Ok::<_, Infallible>(next.map(|key| vec![key]))
        });
        counted.unwrap()
    }

    #[test]
    fn what_goes_meanwhile_is_not_counted_and_nothing_is_counted_twice() {
        assert_eq!(counted(100, &[], None), 0);
        assert_eq!(counted(100, &[1, 2, 3, 4, 5], None), 5);
        for goes in 2..=5 {
            assert_eq!(counted(100, &[1, 2, 3, 4, 5], Some(goes)), 4, "{goes}");
        }
        assert_eq!(counted(5, &[1, 2, 3, 4, 5], None), 5, "a full map");
    }

    #[test]
    fn a_walk_that_begins_anew_all_the_time_ends() {
        let mut told = 0_u8;
        let counted = count(1000, |_| {
            told = (told + 1) % 10;
            Ok::<_, Infallible>(Some(vec![told]))
        });
        assert!(counted.unwrap() <= 1000);
    }
}
