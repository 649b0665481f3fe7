//! Pods whose own connections are made to ztunnel in the first place.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use weir_common::detour::Detour;
use weir_common::names::map;
use weir_common::pod::PodEntry;

use super::NodeSide;
use crate::cgroups::Hierarchy;
use crate::datapath::{Datapath, DatapathError, maps};
use crate::enroll::{EnrollError, entries};

/// The way to the first of these addresses of each family.
pub fn to(addresses: &[IpAddr]) -> Detour {
    let mut detour = Detour::default();
    for &address in addresses.iter().rev() {
        match address {
            IpAddr::V4(_) => detour.v4 = address.into(),
            IpAddr::V6(_) => detour.v6 = address.into(),
        }
    }
    detour
}

/// Makes the pod's connections go to the ztunnel that takes new ones, or on their own way if they are not to make the
/// detour. While there is none they go nowhere, unless the pod's entry lets them go on.
///
/// # Errors
/// [`EnrollError`] names the step.
pub fn follow(datapath: &Datapath, side: &NodeSide, cookie: u64, entry: PodEntry) -> Result<(), EnrollError> {
    if !entry.has(PodEntry::DETOURED) {
        return end(datapath, cookie);
    }
    let ztunnels = side.ztunnels.borrow().clone();
    let detour = match ztunnels.current {
        Some(current) => current.detour,
        None if ztunnels.are_known => Detour::default(),
        // That of an earlier agent goes on.
        None => return Ok(()),
    };
    for cgroup in ztunnels
        .netns
        .iter()
        .flat_map(|netns| cgroups(&side.hierarchy, netns))
    {
        datapath.attach_detours(&cgroup)?;
    }
    let mut detours = datapath.maps().detours()?;
    Ok(detours
        .insert(cookie, detour, 0)
        .map_err(maps::wrap(map::DETOURS))?)
}

/// Lets the pod's new connections go on their own way.
///
/// # Errors
/// [`EnrollError::Datapath`].
pub fn end(datapath: &Datapath, cookie: u64) -> Result<(), EnrollError> {
    if !datapath.pins().map(map::DETOURS).exists() {
        return Ok(());
    }
    Ok(entries::remove(
        &mut datapath.maps().detours()?,
        &cookie,
        map::DETOURS,
    )?)
}

/// Whether the pod's connections make the detour.
///
/// # Errors
/// [`DatapathError`] if the map cannot be read.
pub fn is_made(datapath: &Datapath, cookie: u64) -> Result<bool, DatapathError> {
    if !datapath.pins().map(map::DETOURS).exists() {
        return Ok(false);
    }
    Ok(entries::get(&datapath.maps().detours()?, &cookie, map::DETOURS)?.is_some())
}

/// The cgroups of the processes in a netns; one that cannot be read any more has ended.
fn cgroups(hierarchy: &Hierarchy, netns: &OwnedFd) -> BTreeSet<PathBuf> {
    let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino())).ok();
    let wanted = netns
        .as_fd()
        .try_clone_to_owned()
        .ok()
        .and_then(|netns| identity(&File::from(netns)));
    let Ok(processes) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    processes
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| {
            let own = fs::metadata(format!("/proc/{process}/ns/net"));
            own.is_ok_and(|own| Some((own.dev(), own.ino())) == wanted)
        })
        .filter_map(|process| hierarchy.path_of_process(process))
        .collect()
}
