//! The kernel takes every program, a restart adopts what is there, and removal leaves nothing.

use std::fs;
use std::path::PathBuf;

use weir_agent::cgroups::depth;
use weir_agent::datapath::{Datapath, DatapathConfig, Hook, Sizes, residue};
use weir_common::names::LAYOUT_VERSION;

#[test]
fn programs_load_attach_are_adopted_and_go() {
    let pin_root = PathBuf::from(format!("/sys/fs/bpf/weir_test_{}_datapath", std::process::id()));
    let cgroup = weir_testbeds::cgroup::root()
        .unwrap()
        .join(format!("weir_test_{}_datapath", std::process::id()));
    fs::create_dir(&cgroup).unwrap();
    let config = DatapathConfig {
        pin_root: pin_root.clone(),
        layout: LAYOUT_VERSION,
        cgroup: cgroup.clone(),
        sizes: Sizes::default(),
        hook: Hook::of_this_kernel(),
    };
    let first = Datapath::open(&config).unwrap_or_else(|error| panic!("{error}: {error:#?}"));
    drop(first);
    let _again = Datapath::open(&config).unwrap();
    residue::remove(&pin_root).unwrap();
    fs::remove_dir(&cgroup).unwrap();
    assert!(!pin_root.exists());
}

/// As on a node that is a container, of whose cgroups the ones above are out of sight.
#[test]
fn a_cgroup_is_as_deep_as_the_kernel_says() {
    let root = weir_testbeds::cgroup::root().unwrap();
    let upper = root.join(format!("weir_test_{}_depth", std::process::id()));
    let lower = upper.join("lower");
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&lower).unwrap();
    let move_to = |cgroup: &std::path::Path| fs::write(cgroup.join("cgroup.procs"), "0").unwrap();
    let not_yet = depth::of(&lower);
    move_to(&lower);
    let depths = [&root, &upper, &lower].map(|cgroup| depth::of(cgroup));
    move_to(&root);
    fs::remove_dir(&lower).unwrap();
    fs::remove_dir(&upper).unwrap();
    not_yet.unwrap_err();
    let [of_root, of_upper, of_lower] = depths.map(|depth| depth.unwrap_or_else(|error| panic!("{error}")));
    assert_eq!([of_upper, of_lower], [of_root + 1, of_root + 2]);
}
