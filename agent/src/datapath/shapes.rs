//! What maps have to be like for the programs: the kernel lets a program have any map, and an entry of another size is
//! read past its end, or not at all.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use aya::EbpfError;
use aya_obj::Object;
use weir_common::names::map;

use super::sys::{self, MapInfo, MapType};
use super::{DatapathError, Pins, links, object};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    kind: MapType,
    key_size: u32,
    value_size: u32,
    flags: u32,
}

impl Shape {
    fn of(map: &MapInfo) -> Self {
        Self {
            kind: map.kind,
            key_size: map.key_size,
            value_size: map.value_size,
            flags: map.flags,
        }
    }

    /// The first thing in which it differs from the one that is needed.
    fn differs(&self, needed: &Self) -> Option<String> {
        let sizes = |what, is: u32, needed: u32| {
            (is != needed).then(|| format!("{what} of {is} bytes instead of {needed}"))
        };
        let kind =
            (self.kind != needed.kind).then(|| format!("the type {} instead of {}", self.kind, needed.kind));
        let flags = (self.flags != needed.flags)
            .then(|| format!("the flags {:#x} instead of {:#x}", self.flags, needed.flags));
        kind.or_else(|| sizes("keys", self.key_size, needed.key_size))
            .or_else(|| sizes("values", self.value_size, needed.value_size))
            .or(flags)
    }
}

/// The shapes of the maps in the embedded objects.
#[derive(Debug)]
pub(super) struct Shapes(BTreeMap<String, Shape>);

impl Shapes {
    pub(super) fn read() -> Result<Self, DatapathError> {
        let mut shapes = BTreeMap::new();
        for object in object::ALL {
            let object = Object::parse(object).map_err(EbpfError::from)?;
            shapes.extend(object.maps.iter().map(|(name, map)| {
                let shape = Shape {
                    kind: MapType(map.map_type()),
                    key_size: map.key_size(),
                    value_size: map.value_size(),
                    flags: map.map_flags(),
                };
                (name.clone(), shape)
            }));
        }
        Ok(Self(shapes))
    }

    /// Expects those of the maps that are pinned to be as the programs need them.
    pub(super) fn expect(
        &self,
        pins: &Pins,
        maps: impl IntoIterator<Item = &'static str>,
    ) -> Result<(), DatapathError> {
        maps.into_iter().try_for_each(|map| self.expect_one(pins, map))
    }

    /// The same of all maps.
    pub(super) fn expect_all(&self, pins: &Pins) -> Result<(), DatapathError> {
        let all = map::ALL.into_iter().chain(map::OF_DETOURS);
        self.expect(pins, all.chain(map::OF_REDIRECT))
    }

    fn expect_one(&self, pins: &Pins, map: &'static str) -> Result<(), DatapathError> {
        let path = pins.map(map);
        let (Some(needed), Some(pinned)) = (self.0.get(map), links::open(&path)?) else {
            return Ok(());
        };
        let pinned = Shape::of(&sys::map_info(pinned.as_fd())?);
        pinned
            .differs(needed)
            .map_or(Ok(()), |differs| Err(DatapathError::Shape { map, path, differs }))
    }
}

/// Whether this build can read all maps that are pinned.
///
/// # Errors
/// [`DatapathError`] if a map cannot be looked at.
pub fn are_ours(pins: &Pins) -> Result<bool, DatapathError> {
    match Shapes::read()?.expect_all(pins) {
        Err(DatapathError::Shape { .. }) => Ok(false),
        other => other.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use weir_common::names::map;

    use super::{MapType, Shape, Shapes};
    use crate::check::FEATURES;
    use crate::check::feature::Probe;

    /// Where there are eBPF programs there are these.
    const AS_OLD_AS_PROGRAMS: [MapType; 2] = [MapType::ARRAY, MapType::PERCPU_ARRAY];

    #[test]
    fn weir_check_tries_every_type_of_map_that_not_every_kernel_has() {
        for (name, shape) in Shapes::read().unwrap().0 {
            let is_tried = FEATURES
                .iter()
                .any(|feature| feature.probe == Probe::Map(shape.kind));
            assert!(
                is_tried || AS_OLD_AS_PROGRAMS.contains(&shape.kind),
                "{name} is a {}",
                shape.kind
            );
        }
    }

    #[test]
    fn every_map_is_in_an_object() {
        let shapes = Shapes::read().unwrap();
        let all = map::ALL.into_iter().chain(map::OF_DETOURS);
        for name in all.chain(map::OF_REDIRECT) {
            assert!(shapes.0.contains_key(name), "{name}");
        }
    }

    #[test]
    fn what_differs_is_told() {
        let needed = Shape {
            kind: MapType::HASH,
            key_size: 8,
            value_size: 16,
            flags: 0,
        };
        let told = |shape: Shape| shape.differs(&needed).unwrap_or_default();
        assert_eq!(told(needed), "");
        let kind = MapType::LRU_HASH;
        assert_eq!(
            told(Shape { kind, ..needed }),
            "the type lru_hash instead of hash"
        );
        let value_size = 24;
        assert_eq!(
            told(Shape { value_size, ..needed }),
            "values of 24 bytes instead of 16"
        );
        let key_size = 4;
        assert_eq!(told(Shape { key_size, ..needed }), "keys of 4 bytes instead of 8");
        assert_eq!(told(Shape { flags: 1, ..needed }), "the flags 0x1 instead of 0x0");
    }
}
