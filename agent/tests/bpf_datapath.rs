//! The kernel takes every program, a restart adopts what is there, and removal leaves nothing.

use std::fs;
use std::path::PathBuf;

use weir_agent::datapath::{Datapath, DatapathConfig, Sizes, residue};

#[test]
fn programs_load_attach_are_adopted_and_go() {
    let pin_root = PathBuf::from(format!("/sys/fs/bpf/weir_test_{}_datapath", std::process::id()));
    let cgroup = weir_testbeds::cgroup::root()
        .unwrap()
        .join(format!("weir_test_{}_datapath", std::process::id()));
    fs::create_dir(&cgroup).unwrap();
    let config = DatapathConfig {
        pin_root: pin_root.clone(),
        cgroup: cgroup.clone(),
        sizes: Sizes::default(),
    };
    let first = Datapath::open(&config).unwrap_or_else(|error| panic!("{error}: {error:#?}"));
    drop(first);
    let _again = Datapath::open(&config).unwrap();
    residue::remove(&pin_root).unwrap();
    fs::remove_dir(&cgroup).unwrap();
    assert!(!pin_root.exists());
}
