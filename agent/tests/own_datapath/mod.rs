//! A datapath of a test's own: other pins, another cgroup, gone when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use weir_agent::datapath::{Datapath, DatapathConfig, Hook, Sizes, residue};
use weir_common::event::CounterKey;
use weir_common::names::LAYOUT_VERSION;
use weir_common::node::NodeSettings;
use weir_common::reason::Reason;

pub struct OwnDatapath {
    pub datapath: Arc<Datapath>,
    /// What its programs see.
    pub cgroup: PathBuf,
    pin_root: PathBuf,
}

impl OwnDatapath {
    pub fn new(label: &str) -> Self {
        Self::with_hook(label, Hook::of_this_kernel())
    }

    pub fn with_hook(label: &str, hook: Hook) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir_test_{}_{label}_{count}", std::process::id());
        let pin_root = Path::new("/sys/fs/bpf").join(&name);
        let cgroup = cgroup_root().join(&name);
        fs::create_dir(&cgroup).unwrap();
        let config = DatapathConfig {
            pin_root,
            layout: LAYOUT_VERSION,
            cgroup,
            sizes: Sizes {
                pods: 64,
                probes: 256,
                connections: 1024,
                rules: 256,
                event_bytes: 4096,
                ..Sizes::default()
            },
            hook,
        };
        let opened = Datapath::open(&config);
        if opened.is_err() {
            remove(&config.pin_root, &config.cgroup);
        }
        Self {
            datapath: Arc::new(opened.unwrap_or_else(|error| panic!("{error}: {error:#?}"))),
            pin_root: config.pin_root,
            cgroup: config.cgroup,
        }
    }

    /// Writes the node's settings: nothing but these flags.
    pub fn set_flags(&self, flags: u32) {
        let settings = NodeSettings {
            flags,
            ..NodeSettings::default()
        };
        self.datapath.maps().node().unwrap().set(0, settings, 0).unwrap();
    }

    /// How often it came to this in the pod.
    pub fn count(&self, netns: u64, reason: Reason) -> u64 {
        let key = CounterKey {
            netns,
            reason: reason as u32,
            reserved: 0,
        };
        let counters = self.datapath.maps().counters().unwrap();
        counters.get(&key, 0).map_or(0, |per_cpu| per_cpu.iter().sum())
    }
}

impl Drop for OwnDatapath {
    fn drop(&mut self) {
        remove(&self.pin_root, &self.cgroup);
    }
}

fn remove(pin_root: &Path, cgroup: &Path) {
    if let Err(error) = residue::remove(pin_root) {
        eprintln!("{} stays behind: {error}", pin_root.display());
    }
    if let Err(error) = fs::remove_dir(cgroup) {
        eprintln!("{} stays behind: {error}", cgroup.display());
    }
}

/// Where cgroup2 is mounted, on its own or beside version 1.
fn cgroup_root() -> &'static Path {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(Path::new)
        .find(|root| root.join("cgroup.controllers").exists())
        .expect("no cgroup2 is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified")
}
