//! What the kernel side is told of the node.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use tracing::warn;
use weir_common::names::map;
use weir_common::node::NodeSettings;

use super::config::{AgentConfig, GuardMode, ProbeMode};
use crate::cgroups::{Cgroup, CgroupError, Hierarchy, depth};
use crate::datapath::{Datapath, DatapathError, maps};
use crate::inside::{self, InsideError};
use crate::pods::netns::NetnsId;

/// Why the node's settings cannot be made up.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The node's own netns cannot be opened.
    #[error("the node's network namespace {} cannot be opened: {source}; name a handle of it that can with --host-netns, or grant SYS_PTRACE", path.display())]
    HostNetns {
        /// Its handle.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be entered.
    #[error(transparent)]
    Inside(#[from] InsideError),
    /// A cgroup cannot be used.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The map of settings was refused.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

/// The node as the agent sees it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Cookie of the node's own netns.
    pub host_netns: u64,
    /// That netns.
    pub handle: Arc<OwnedFd>,
    /// Which one it is.
    pub id: NetnsId,
    /// The cgroup hierarchy.
    pub hierarchy: Hierarchy,
    /// Where pods live in it, if that is known.
    pub pods_cgroup: Option<Cgroup>,
    /// How much of it is above what can be seen.
    pub root_depth: u32,
}

impl Node {
    /// Reads the facts.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn read(config: &AgentConfig) -> Result<Self, NodeError> {
        let path = &config.host_netns;
        let failed = |source| NodeError::HostNetns {
            path: path.clone(),
            source,
        };
        let netns = File::open(path).map_err(failed)?;
        let hierarchy = Hierarchy::find()?;
        let pods_cgroup = match &config.pods_cgroup {
            Some(path) => Some(Cgroup::open(&hierarchy.root, path)?),
            None => hierarchy.pods(),
        };
        Ok(Self {
            host_netns: inside::cookie(netns.as_fd())?,
            id: NetnsId::of(&netns).map_err(failed)?,
            handle: Arc::new(netns.into()),
            root_depth: root_depth(&hierarchy),
            hierarchy,
            pods_cgroup,
        })
    }

    /// What follows for the kernel side.
    #[must_use]
    pub fn settings(&self, config: &AgentConfig) -> NodeSettings {
        let mut flags = 0;
        if config.probes == ProbeMode::AnyHostProcess {
            flags |= NodeSettings::PROBE_BY_ANY_HOST_PROCESS;
        }
        if config.guard == GuardMode::Enforce {
            flags |= NodeSettings::GUARD_ENFORCES;
        }
        // Whoever listens outside of that cgroup is not seen.
        let is_all = |cgroup: &PathBuf| *cgroup == self.hierarchy.root;
        if !config.cgroup.as_ref().is_none_or(is_all) {
            flags |= NodeSettings::LISTENERS_UNSEEN;
        }
        NodeSettings {
            host_netns: self.host_netns,
            pods_cgroup: self.pods_cgroup.map_or(0, |cgroup| cgroup.id),
            pods_cgroup_level: self
                .pods_cgroup
                .map_or(0, |cgroup| cgroup.level + self.root_depth),
            ztunnel: 0,
            flags,
        }
    }
}

fn root_depth(hierarchy: &Hierarchy) -> u32 {
    depth::of(&hierarchy.root).unwrap_or_else(|error| {
        warn!(%error, "the depth of the cgroup hierarchy is not known: where a container plays the node, pods on its \
               network may pass for probes");
        0
    })
}

/// Changes the settings that the kernel side works by. Others do so too, in this process and in that of a `weir trace`:
/// each waits until the other is done.
///
/// # Errors
/// [`DatapathError`].
pub fn change_settings(
    datapath: &Datapath,
    change: impl FnOnce(&mut NodeSettings),
) -> Result<(), DatapathError> {
    let _turn = datapath.pins().lock()?;
    let mut map = datapath.maps().node()?;
    let mut settings = map.get(&0, 0).map_err(maps::wrap(map::NODE))?;
    change(&mut settings);
    map.set(0, settings, 0).map_err(maps::wrap(map::NODE))
}
