//! Keeps the ztunnel of the node contract: finds it, gives it what it needs where it is, lets it take connections, and
//! replaces it by another.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_nameindex;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use weir_common::names::map;

mod candidate;
mod kept;

use candidate::{Candidate, Whereabouts};
pub use kept::{Kept, KeptList};

use super::config::ContractMode;
use crate::datapath::{Datapath, maps};
use crate::enroll::EnrollError;
use crate::enroll::redirect::ztunnel;
use crate::enroll::redirect::{Current, Ztunnels};
use crate::inside;
use crate::pods::netns::NetnsId;
use crate::pods::pod::PodEntry;
use crate::pods::select::is_ztunnel;
use crate::pods::source::{PodSource, SourceEvent};
use crate::zds::ZdsServer;

/// How often it is looked whether ztunnel listens: nothing tells when that begins or ends.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Every so many looks what ztunnel needs is put right.
const LOOKS_PER_MENDING: u64 = 20;
/// Every so many, 20 minutes, it is looked of which addresses nothing is remembered any longer.
const LOOKS_PER_RENEWAL: u64 = 2400;

/// What the keeper is told.
pub(super) struct KeeperConfig {
    pub(super) mode: ContractMode,
    pub(super) host: Arc<OwnedFd>,
    pub(super) host_id: NetnsId,
    /// Path of ztunnel's netns, if it is not found by its pod.
    pub(super) named: Option<PathBuf>,
    pub(super) system_namespace: String,
    pub(super) fail_open: bool,
}

/// The keeper.
pub(super) struct Keeper {
    config: KeeperConfig,
    datapath: Arc<Datapath>,
    zds: ZdsServer,
    candidates: BTreeMap<Whereabouts, Candidate>,
    known: watch::Sender<Arc<Ztunnels>>,
    kept: KeptList,
    looks: u64,
}

impl Keeper {
    pub(super) fn new(
        config: KeeperConfig,
        datapath: Arc<Datapath>,
        zds: ZdsServer,
    ) -> (Self, watch::Receiver<Arc<Ztunnels>>, KeptList) {
        let (known, receiver) = watch::channel(Arc::default());
        let kept = KeptList::default();
        let keeper = Self {
            config,
            datapath,
            zds,
            candidates: BTreeMap::new(),
            known,
            kept: kept.clone(),
            looks: 0,
        };
        (keeper, receiver, kept)
    }

    /// Looks again and again, until it is told to take away what is there for ztunnels.
    pub(super) async fn run(mut self, source: PodSource, mut leave: oneshot::Receiver<()>) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                left = &mut leave => {
                    if left.is_ok() {
                        // One that panicked has been reported by the runtime.
                        spawn_blocking(move || self.leave()).await.ok();
                    }
                    return;
                }
            }
            let event = source.events.borrow().clone();
            let pods = match &event {
                SourceEvent::Snapshot(snapshot) => snapshot.pods.clone(),
                SourceEvent::Pending if self.config.named.is_some() => Arc::from([]),
                // The ztunnel of an earlier run goes on: that it is not known yet does not mean that it is gone.
                SourceEvent::Pending => continue,
            };
            let looked = spawn_blocking(move || {
                self.look(&pods);
                self
            });
            match looked.await {
                Ok(keeper) => self = keeper,
                // The runtime ends, or a look has panicked and been told of.
                Err(_) => return,
            }
        }
    }

    fn leave(&self) {
        if !self.datapath.pins().map(map::PLACES).exists() {
            return;
        }
        let places = match ztunnel::places(&self.datapath) {
            Ok(places) => places,
            Err(error) => {
                return warn!(%error, "where ztunnels are cannot be read; `weir cleanup` tries again");
            }
        };
        let known = self.candidates.values();
        let known: BTreeMap<u64, &Arc<OwnedFd>> = known
            .filter_map(|candidate| candidate.netns.as_ref())
            .map(|(netns, cookie)| (*cookie, netns))
            .collect();
        let find = |cookie| known.get(&cookie).map(|netns| netns.as_fd());
        for (netns, error) in ztunnel::vacate_all(&self.datapath, self.config.host.as_fd(), places, find) {
            warn!(netns, %error, "something of ours stays where ztunnel is");
        }
    }

    fn look(&mut self, pods: &[PodEntry]) {
        self.follow(pods);
        // A ztunnel that connects has its sockets in the pods.
        if self.config.mode == ContractMode::Auto && self.zds.is_connected() {
            return;
        }
        let mends = self.looks.is_multiple_of(LOOKS_PER_MENDING);
        let mut newcomers = Vec::new();
        for (place, candidate) in &mut self.candidates {
            let before = candidate.ready.map(|(slot, _)| slot);
            candidate.look(&self.config, &self.datapath, place, mends);
            newcomers.extend(
                candidate
                    .ready
                    .map(|(slot, _)| slot)
                    .filter(|slot| before != Some(*slot)),
            );
        }
        if let Err(error) = self.decide(&newcomers) {
            warn!(%error, "which ztunnel takes new connections cannot be changed");
        }
        if self.looks % LOOKS_PER_RENEWAL == LOOKS_PER_RENEWAL - 1
            && let Err(error) = self.datapath.maps().renew_pairs()
        {
            warn!(%error, "what is looked up for connections stays more than it has to be");
        }
        self.looks += 1;
    }

    /// Candidates are the pods that say so, and what was named.
    fn follow(&mut self, pods: &[PodEntry]) {
        let mut wanted: BTreeMap<Whereabouts, String> = pods
            .iter()
            .map(|entry| &entry.pod)
            .filter(|pod| is_ztunnel(&pod.name, &pod.labels, &self.config.system_namespace))
            .filter(|pod| !pod.phase.is_finished() && !pod.host_network)
            .map(|pod| {
                let place = Whereabouts::Pod(pod.uid.clone(), pod.netns.clone());
                (place, pod.name.to_string())
            })
            .collect();
        if let Some(path) = &self.config.named {
            wanted.insert(Whereabouts::Path(path.clone()), path.display().to_string());
        }
        self.candidates.retain(|place, _| wanted.contains_key(place));
        for (place, name) in wanted {
            let candidate = self.candidates.entry(place);
            candidate.or_insert_with(|| Candidate::new(name));
        }
    }

    fn decide(&self, newcomers: &[u32]) -> Result<(), EnrollError> {
        let ready: Vec<u32> = self.ready().map(|(slot, _)| slot).collect();
        // Without a ztunnel ever nothing is loaded for one.
        if ready.is_empty() && self.known.borrow().netns.is_empty() && !self.is_expected() {
            self.tell(None);
            return Ok(());
        }
        self.datapath.prepare_redirect()?;
        let contract = self.datapath.maps().contract().map_err(EnrollError::from)?;
        let appointed = contract.get(&0, 0).map_err(maps::wrap(map::CONTRACT))?.current;
        let chosen = choose(&ready, newcomers, appointed, self.looks == 0);
        ztunnel::appoint(&self.datapath, chosen, self.config.fail_open)?;
        self.tell(chosen);
        self.clear_abandoned()
    }

    /// Whether the kernel may hold something of an earlier run, or pods wait.
    fn is_expected(&self) -> bool {
        self.config.mode == ContractMode::Node || self.datapath.pins().map(map::CONTRACT).exists()
    }

    fn ready(&self) -> impl Iterator<Item = (u32, Current)> {
        self.candidates.values().filter_map(|candidate| candidate.ready)
    }

    fn tell(&self, chosen: Option<u32>) {
        let mut ready = self.ready();
        let current = ready.find(|(slot, _)| Some(*slot) == chosen);
        let current = current.map(|(_, current)| current);
        *self.kept.lock() = self
            .candidates
            .values()
            .map(|candidate| candidate.kept(chosen))
            .collect();
        let netns: Vec<_> = self
            .candidates
            .values()
            .filter_map(|candidate| Some(candidate.netns.as_ref()?.0.clone()))
            .collect();
        let divided = self.candidates.values().filter_map(|candidate| {
            let (netns, _) = candidate.netns.as_ref()?;
            Some((netns.clone(), candidate.divided.clone()?))
        });
        let divided = divided.collect();
        self.known.send_if_modified(|known| {
            let changed = known.current != current;
            if changed {
                info!(
                    netns = current.map(|current| current.cookie),
                    "ztunnel for new connections"
                );
            }
            *known = Arc::new(Ztunnels {
                are_known: true,
                current,
                netns,
                divided,
            });
            changed
        });
    }

    /// A place is given up when nobody is there any more: until then connections go on there.
    fn clear_abandoned(&self) -> Result<(), EnrollError> {
        let held: BTreeSet<u64> = self
            .candidates
            .values()
            .filter_map(|candidate| Some(candidate.netns.as_ref()?.1))
            .collect();
        for (slot, place) in ztunnel::places(&self.datapath)? {
            if !held.contains(&place.netns) && !self.exists(place.interface)? {
                ztunnel::vacate(&self.datapath, self.config.host.as_fd(), None, (slot, place))?;
                info!(netns = place.netns, "a ztunnel is gone");
            }
        }
        Ok(())
    }

    fn exists(&self, interface: u32) -> Result<bool, EnrollError> {
        let found = inside::run(self.config.host.as_fd(), || {
            Ok(if_nameindex()?.iter().any(|name| name.index() == interface))
        })?;
        found.map_err(|errno: Errno| EnrollError::Interfaces(errno.into()))
    }
}

/// Which slot takes new connections: one that has just become ready, else the one that did before, else any.
fn choose(ready: &[u32], newcomers: &[u32], appointed: u32, first: bool) -> Option<u32> {
    let newcomer = newcomers.last().copied().filter(|_| !first);
    newcomer
        .or_else(|| ready.iter().copied().find(|slot| *slot == appointed))
        .or_else(|| ready.last().copied())
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn a_newcomer_takes_over_and_an_adopted_one_goes_on() {
        assert_eq!(choose(&[], &[], 0, false), None);
        assert_eq!(choose(&[0], &[0], 4, true), Some(0));
        assert_eq!(choose(&[0, 1], &[1], 0, false), Some(1), "an upgrade");
        assert_eq!(choose(&[0, 1], &[], 1, false), Some(1));
        assert_eq!(
            choose(&[0, 1], &[0, 1], 0, true),
            Some(0),
            "a restart of the agent"
        );
        assert_eq!(choose(&[0], &[], 1, false), Some(0), "the newer one is gone");
    }
}
