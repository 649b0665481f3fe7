//! Which entries of the map of listeners are there. Nobody can read a socket out of it, and to list its keys is to pay
//! for every pod of the node.

use weir_common::listener::ListenerKey;
use weir_common::names::map;

use super::{DatapathError, Maps};

/// Others add listeners all the time, but seldom one that is the map's first.
const ATTEMPTS: usize = 8;

impl Maps {
    /// How many of these listeners are there.
    ///
    /// # Errors
    /// [`DatapathError`] if the map cannot be read.
    pub fn listeners_among(&self, keys: &[ListenerKey]) -> Result<usize, DatapathError> {
        let failed = |source| DatapathError::Bytes {
            map: map::LISTENERS,
            source,
        };
        let map = self.raw(map::LISTENERS)?;
        let mut count = 0;
        for _ in 0..ATTEMPTS {
            // What follows a key that is not there is the map's first key, which follows none that is there.
            let first = map.next_key(None).map_err(failed)?;
            let Some(start) = &first else { return Ok(0) };
            count = 0;
            for key in keys {
                let next = map.next_key(Some(&bytes(key))).map_err(failed)?;
                count += usize::from(next.as_ref() != Some(start));
            }
            if map.next_key(None).map_err(failed)? == first {
                break;
            }
        }
        Ok(count)
    }
}

fn bytes(key: &ListenerKey) -> Vec<u8> {
    let mut bytes = key.netns.to_ne_bytes().to_vec();
    bytes.extend(key.port.to_ne_bytes());
    bytes.extend(key.slot.to_ne_bytes());
    bytes
}
