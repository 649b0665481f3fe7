//! Takes away everything of Weir on a node where no agent runs, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use weir_common::names::map;

use crate::datapath::{Datapath, DatapathError, OtherLayout, Pins, remove_filters, residue, shapes};
use crate::enroll::loopback::{self, StillBound};
use crate::enroll::redirect::{NodeSide, ztunnel};
use crate::enroll::{EnrollError, Enroller, clear_namespace};
use crate::pods::netns::{ListError, find_by_cookies, open_host};

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Pods, by netns cookie, whose netns was found and cleared.
    pub pods: Vec<u64>,
    /// Pods, by netns cookie, whose netns is gone, and with it all that was in it.
    pub gone: Vec<u64>,
    /// Files of the CNI plugin.
    pub files: Vec<PathBuf>,
    /// The directory of pins, if there was one.
    pub pins: Option<PathBuf>,
    /// Listeners of ztunnel's in these pods that could not be made what they were before Weir.
    pub still_bound: Vec<StillBound>,
}

/// Pods' namespaces that were found, by cookie.
type Namespaces = BTreeMap<u64, OwnedFd>;

/// Why something is left.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// The pins cannot be read or removed.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// A pod cannot be cleared.
    #[error(
        "the pod with netns cookie {netns}: {source}; the pins stay, so that `weir cleanup` can try again"
    )]
    Pod {
        /// Its cookie.
        netns: u64,
        /// Why.
        source: EnrollError,
    },
    /// What was there for ztunnel cannot be taken away.
    #[error(
        "what ztunnel needed in the network namespace with the cookie {netns}: {source}; the pins stay, so that `weir cleanup` can try again"
    )]
    Ztunnel {
        /// Its cookie.
        netns: u64,
        /// Why.
        source: EnrollError,
    },
    /// The namespaces of the node cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
}

/// Takes away all that is below `root` and, in the node's namespace and the pods' that can be found, all that belongs to
/// it.
///
/// # Errors
/// The first [`CleanupError`]; pods that could be cleared are, and `removed` tells of them.
pub fn run(root: &Path, host_netns: &Path, removed: &mut Removed) -> Result<(), CleanupError> {
    if !root.exists() {
        return Ok(());
    }
    let mut found = Namespaces::new();
    let cleared = clear_layouts(root, host_netns, removed, &mut found);
    // Whatever else has failed: a pod that was cleared is not found again.
    removed.still_bound = loopback::free(&found);
    cleared?;
    residue::remove(root)?;
    removed.pins = Some(root.to_owned());
    Ok(())
}

fn clear_layouts(
    root: &Path,
    host_netns: &Path,
    removed: &mut Removed,
    found: &mut Namespaces,
) -> Result<(), CleanupError> {
    for pins in residue::layouts(root)? {
        if shapes::are_ours(&pins)? {
            clear_layout(pins, host_netns, removed, found)?;
        } else {
            clear_unread(pins, host_netns, removed, found)?;
        }
    }
    for pods in [&mut removed.pods, &mut removed.gone] {
        // In the midst of a take-over a pod is known to both layouts.
        pods.sort_unstable();
        pods.dedup();
    }
    Ok(())
}

/// A layout whose maps are as ours.
fn clear_layout(
    pins: Pins,
    host_netns: &Path,
    removed: &mut Removed,
    found: &mut Namespaces,
) -> Result<(), CleanupError> {
    let cookies = residue::known_netns(&pins)?;
    let has_places = pins.map(map::PLACES).exists();
    let datapath = Arc::new(Datapath::adopt(pins));
    let places = if has_places {
        ztunnel::places(&datapath)?
    } else {
        Vec::new()
    };
    let wanted: BTreeSet<u64> = places
        .iter()
        .map(|(_, place)| place.netns)
        .chain(cookies.clone())
        .collect();
    let namespaces = if wanted.is_empty() {
        Namespaces::new()
    } else {
        find_by_cookies(&wanted)?
    };
    let host = Arc::new(open_host(host_netns)?);
    let mut failure = None;
    if has_places {
        let find = |netns| namespaces.get(&netns).map(OwnedFd::as_fd);
        for (netns, source) in ztunnel::vacate_all(&datapath, host.as_fd(), places, find) {
            _ = failure.get_or_insert(CleanupError::Ztunnel { netns, source });
        }
    }
    for netns in cookies {
        let namespace = namespaces.get(&netns);
        match clear(&datapath, &host, netns, namespace) {
            Ok(()) if namespace.is_some() => removed.pods.push(netns),
            Ok(()) => removed.gone.push(netns),
            Err(source) => _ = failure.get_or_insert(CleanupError::Pod { netns, source }),
        }
    }
    found.extend(namespaces);
    failure.map_or(Ok(()), Err)
}

/// A layout whose maps cannot be read but for who its pods are: links go with their pins, and what is in namespaces is
/// known by its names and numbers.
fn clear_unread(
    pins: Pins,
    host_netns: &Path,
    removed: &mut Removed,
    found: &mut Namespaces,
) -> Result<(), CleanupError> {
    let layout = OtherLayout::open(pins)?;
    let cookies = layout.cookies()?;
    let namespaces = find_by_cookies(&cookies)?;
    let mut failure = None;
    for netns in cookies {
        let switched = layout.entry(netns)?.unwrap_or_default().sysctls;
        match namespaces
            .get(&netns)
            .map(|found| clear_namespace(found.as_fd(), switched))
        {
            None => removed.gone.push(netns),
            Some(Ok(())) => removed.pods.push(netns),
            Some(Err(source)) => _ = failure.get_or_insert(CleanupError::Pod { netns, source }),
        }
    }
    found.extend(namespaces);
    let host = open_host(host_netns)?;
    remove_filters(host.as_fd())?;
    failure.map_or(Ok(()), Err)
}

fn clear(
    datapath: &Arc<Datapath>,
    host: &Arc<OwnedFd>,
    cookie: u64,
    namespace: Option<&OwnedFd>,
) -> Result<(), EnrollError> {
    let side = NodeSide::abandoned(host.clone());
    // No pod has the cookie 0, so none is taken for the host.
    let enroller = Enroller::new(datapath.clone(), 0).with_node_side(Some(side));
    enroller.remove(namespace.map(OwnedFd::as_fd), cookie)
}
