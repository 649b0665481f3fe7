//! Learns which processes are ztunnel, and tells the kernel side whose mark it may believe.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tracing::{info, warn};
use weir_common::names::map;
use weir_common::node::NodeSettings;

use super::node::{Node, change_settings};
use crate::datapath::{Datapath, DatapathError, maps};
use crate::zds::socket::Peer;
use crate::zds::{ConnectionId, Doorkeeper};

/// The connected ztunnels.
pub(super) struct Ztunnels {
    datapath: Arc<Datapath>,
    node: Node,
    connected: Mutex<BTreeMap<ConnectionId, u32>>,
    processes: watch::Sender<Arc<[u32]>>,
}

impl Ztunnels {
    pub(super) fn new(datapath: Arc<Datapath>, node: Node) -> (Self, watch::Receiver<Arc<[u32]>>) {
        let (processes, receiver) = watch::channel(Arc::from([]));
        (
            Self {
                datapath,
                node,
                connected: Mutex::default(),
                processes,
            },
            receiver,
        )
    }

    /// Cgroups of the ztunnels that are connected.
    fn cgroups(&self) -> BTreeSet<u64> {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let cgroups = connected
            .values()
            .filter_map(|process| self.node.hierarchy.of_process(*process));
        cgroups.map(|cgroup| cgroup.id).collect()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<ConnectionId, u32>)) {
        // A panic elsewhere leaves plain data behind, which is still true.
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut connected);
        self.processes.send_replace(connected.values().copied().collect());
    }

    /// A ztunnel that has gone keeps its entry: its sockets may outlive its connection to us, and a cgroup's id is
    /// never used again.
    fn trust(&self, process: u32) -> Result<(), DatapathError> {
        let Some(cgroup) = self.node.hierarchy.of_process(process) else {
            warn!(
                process,
                "ztunnel has no cgroup of its own: its mark alone is believed"
            );
            return change_settings(&self.datapath, |settings| {
                settings.flags |= NodeSettings::TRUST_MARK_ALONE;
            });
        };
        info!(process, cgroup = cgroup.id, "ztunnel connected");
        let mut ztunnels = self.datapath.maps().ztunnels()?;
        if ztunnels.insert(cgroup.id, 1, 0).is_err() {
            // The map is full of cgroups that are gone.
            let living = self.cgroups();
            let known: Vec<u64> = ztunnels.keys().filter_map(Result::ok).collect();
            for id in known.iter().filter(|id| !living.contains(id)) {
                ztunnels.remove(id).map_err(maps::wrap(map::ZTUNNELS))?;
            }
            ztunnels
                .insert(cgroup.id, 1, 0)
                .map_err(maps::wrap(map::ZTUNNELS))?;
        }
        change_settings(&self.datapath, |settings| settings.ztunnel = cgroup.id)
    }
}

/// Before ztunnel hears of a pod: it connects from inside the pod as soon as it has, and is a stranger there until its
/// cgroup is noted.
impl Doorkeeper for Ztunnels {
    fn entered(&self, connection: ConnectionId, peer: Peer) {
        let process = u32::try_from(peer.pid).unwrap_or(0);
        if let Err(error) = self.trust(process) {
            warn!(%error, process, "ztunnel's cgroup could not be noted: its connections are taken for the pods' own");
        }
        self.change(|connected| _ = connected.insert(connection, process));
    }

    fn left(&self, connection: ConnectionId) {
        self.change(|connected| _ = connected.remove(&connection));
    }
}
