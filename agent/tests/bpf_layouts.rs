//! What another build has pinned, of the same layout or of another: what can be taken over from it, and what is told of
//! and left as it is.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use weir_agent::cleanup::{self, Removed};
use weir_agent::datapath::sys::{self, MapSpec, MapType, RawMap};
use weir_agent::datapath::{Datapath, DatapathConfig, DatapathError, Hook, Pins, Sizes, residue};
use weir_common::names::{LAYOUT_VERSION, map};
use weir_common::node::NodeSettings;
use weir_common::pod::PodEntry;
use weir_testbeds::unique;

const OLDER: u32 = LAYOUT_VERSION - 1;
const NEWER: u32 = LAYOUT_VERSION + 1;
const POD: u64 = 0x7765_6972;

/// Pins and a cgroup of a test's own.
struct Place {
    pin_root: PathBuf,
    cgroup: PathBuf,
}

impl Place {
    fn new(label: &str) -> Self {
        let name = unique::name(label);
        let cgroup = weir_testbeds::cgroup::root().unwrap().join(&name);
        fs::create_dir(&cgroup).unwrap();
        Self {
            pin_root: Path::new("/sys/fs/bpf").join(name),
            cgroup,
        }
    }

    fn pins(&self, layout: u32) -> Pins {
        Pins::of_layout(&self.pin_root, layout)
    }

    fn open(&self, layout: u32) -> Result<Datapath, DatapathError> {
        Datapath::open(&DatapathConfig {
            pin_root: self.pin_root.clone(),
            layout,
            cgroup: self.cgroup.clone(),
            sizes: Sizes {
                pods: 16,
                connections: 64,
                event_bytes: 4096,
                ..Sizes::default()
            },
            hook: Hook::of_this_kernel(),
        })
    }

    /// Pins a map as another build would have made it.
    fn pin(&self, layout: u32, spec: &MapSpec<'_>) -> RawMap {
        let path = self.pins(layout).map(spec.name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let made = sys::map_create(spec).unwrap();
        sys::obj_pin(made.as_fd(), &path).unwrap();
        RawMap::new(made).unwrap()
    }

    /// Every directory and pin.
    fn everything(&self) -> Vec<PathBuf> {
        let mut found = vec![self.pin_root.clone()];
        let mut at = 0;
        while let Some(path) = found.get(at).cloned() {
            if path.is_dir() {
                found.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
            at += 1;
        }
        found.sort();
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        residue::remove(&self.pin_root).unwrap_or_else(|error| panic!("{error}"));
        fs::remove_dir(&self.cgroup).unwrap_or_default();
    }
}

const fn spec(name: &str, kind: MapType, key_size: u32, value_size: u32) -> MapSpec<'_> {
    MapSpec {
        kind,
        key_size,
        value_size,
        max_entries: 8,
        name,
    }
}

fn bytes(entry: PodEntry, size: usize) -> Vec<u8> {
    let mut bytes = entry.flags.to_ne_bytes().to_vec();
    bytes.extend(entry.sysctls.to_ne_bytes());
    bytes.resize(size, 0xff);
    bytes
}

#[test]
fn a_map_of_another_shape_is_told_of_before_anything_changes() {
    let cases = [
        (
            spec(map::FLOWS, MapType::LRU_HASH, 36, 24),
            "values of 24 bytes instead of 16",
        ),
        (
            spec(map::PODS, MapType::HASH, 4, 8),
            "keys of 4 bytes instead of 8",
        ),
        (
            spec(map::PASSES, MapType::HASH, 48, 8),
            "the type hash instead of lru_hash",
        ),
    ];
    for (spec, differs) in cases {
        let place = Place::new("shape");
        place.pin(LAYOUT_VERSION, &spec);
        let before = place.everything();
        let error = place.open(LAYOUT_VERSION).unwrap_err();
        assert!(
            matches!(&error, DatapathError::Shape { map, .. } if *map == spec.name),
            "{error:?}"
        );
        let told = error.to_string();
        assert!(told.contains(differs) && told.contains("weir cleanup"), "{told}");
        assert_eq!(place.everything(), before);
    }
}

/// The shapes of the objects are those that the kernel gives the maps made of them.
#[test]
fn what_this_build_has_pinned_is_adopted() {
    let place = Place::new("adopted");
    for _ in 0..2 {
        place.open(LAYOUT_VERSION).unwrap().prepare_redirect().unwrap();
    }
}

#[test]
fn what_another_layout_cannot_hand_on_is_told_of() {
    for layout in [OLDER, NEWER] {
        let place = Place::new("handed-on");
        place.pin(layout, &spec(map::NEWEST, MapType::HASH, 16, 8));
        let before = place.everything();
        let error = place.open(LAYOUT_VERSION).unwrap_err();
        let expected = place.pins(layout).map(map::NEWEST);
        assert!(
            matches!(&error, DatapathError::Shape { path, .. } if *path == expected),
            "{error:?}"
        );
        assert_eq!(place.everything(), before);
        fs::remove_file(&expected).unwrap();
        // What is not handed on may be as it likes.
        place.pin(layout, &spec(map::FLOWS, MapType::HASH, 4, 4));
        place.open(LAYOUT_VERSION).unwrap();
    }
}

#[test]
fn a_ztunnel_outside_of_the_pods_is_not_taken_over() {
    for layout in [OLDER, NEWER] {
        let place = Place::new("redirected");
        let other = place.open(layout).unwrap();
        let entry = PodEntry {
            flags: PodEntry::NODE | PodEntry::REDIRECTING,
            sysctls: 0,
        };
        other.maps().set_pod(POD, entry.into()).unwrap();
        let before = place.everything();
        let refused = |place: &Place| {
            let error = place.open(LAYOUT_VERSION).unwrap_err();
            assert!(
                matches!(&error, DatapathError::RedirectedElsewhere { layout: other, .. } if *other == layout),
                "{error:?}"
            );
            assert!(error.to_string().contains("docs/install.md"), "{error}");
        };
        refused(&place);
        assert_eq!(place.everything(), before);
        other.maps().pods().unwrap().remove(&POD).unwrap();
        let ztunnel = place.pins(layout).places().join("17");
        fs::create_dir_all(&ztunnel).unwrap();
        refused(&place);
        fs::remove_dir(&ztunnel).unwrap();
        place.open(LAYOUT_VERSION).unwrap();
    }
}

/// An entry may have grown, but begins as it did.
#[test]
fn pods_are_known_by_what_all_layouts_have_in_common() {
    let place = Place::new("common");
    let entry = PodEntry {
        flags: PodEntry::CAPTURING,
        sysctls: 5,
    };
    let pods = place.pin(NEWER, &spec(map::PODS, MapType::HASH, 8, 24));
    pods.update(&POD.to_ne_bytes(), &bytes(entry, 24)).unwrap();
    let node = place.pin(NEWER, &spec(map::NODE, MapType::ARRAY, 4, 32));
    let mut settings = vec![0; 32];
    settings[20..24].copy_from_slice(&NodeSettings::TRUST_MARK_ALONE.to_ne_bytes());
    node.update(&0_u32.to_ne_bytes(), &settings).unwrap();
    let datapath = place.open(LAYOUT_VERSION).unwrap();
    let settings = datapath.maps().node().unwrap().get(&0, 0).unwrap();
    assert!(settings.has(NodeSettings::TRUST_MARK_ALONE));
    assert_eq!(datapath.entry_elsewhere(POD).unwrap(), Some(entry));
    assert_eq!(datapath.entry_elsewhere(POD + 1).unwrap(), None);
    assert_eq!(datapath.netns_elsewhere().unwrap(), [POD].into());
    datapath.end_other_layouts().unwrap();
    assert!(place.pins(NEWER).base().exists(), "a pod is left");
    datapath.disown_elsewhere(POD).unwrap();
    datapath.end_other_layouts().unwrap();
    assert!(!place.pins(NEWER).base().exists());
}

#[test]
fn cleaning_up_takes_what_it_cannot_read_too() {
    let place = Place::new("unread");
    drop(place.open(LAYOUT_VERSION).unwrap());
    for layout in [OLDER, NEWER] {
        let pods = place.pin(layout, &spec(map::PODS, MapType::HASH, 8, 24));
        let gone = POD + u64::from(layout);
        pods.update(&gone.to_ne_bytes(), &bytes(PodEntry::default(), 24))
            .unwrap();
    }
    let mut removed = Removed::default();
    cleanup::run(&place.pin_root, Path::new("/proc/self/ns/net"), &mut removed).unwrap();
    assert_eq!(removed.gone, [POD + u64::from(OLDER), POD + u64::from(NEWER)]);
    assert!(!place.pin_root.exists());
}
