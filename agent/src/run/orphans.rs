//! Pods that the kernel side still knows although nobody wants them: they went while no agent ran.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use tracing::{info, warn};
use weir_netdetect::choose::Contract;

use super::claims::{Claims, Holder};
use super::registry::{PodState, Registry};
use super::release::{ReleaseError, Releaser, SharedNetns};
use crate::datapath::{Datapath, DatapathError, Hook, residue};
use crate::enroll::EnrollError;
use crate::enroll::redirect::detour;
use crate::inside;

/// Where network namespaces are mounted.
const NAMED: &str = "/run/netns";

/// Looks for orphans.
#[derive(Clone)]
pub(super) struct Sweeper {
    pub(super) datapath: Arc<Datapath>,
    pub(super) registry: Registry,
    pub(super) claims: Claims,
    pub(super) releaser: Releaser,
}

impl Sweeper {
    /// Lets go of all orphans. As long as a wanted pod's netns is not known only those whose netns is gone are taken
    /// for orphans: letting go of a pod that lives would let its traffic out in clear.
    pub(super) async fn sweep(&self) {
        if let Err(error) = self.try_sweep().await {
            warn!(%error, "pods that are gone could not be looked for");
        }
    }

    async fn try_sweep(&self) -> Result<(), ReleaseError> {
        self.let_orphans_go().await?;
        let datapath = self.datapath.clone();
        let ended = spawn_blocking(move || datapath.end_other_layouts()).await?;
        Ok(ended.map_err(EnrollError::from)?)
    }

    async fn let_orphans_go(&self) -> Result<(), ReleaseError> {
        let datapath = self.datapath.clone();
        let mut orphans = spawn_blocking(move || known(&datapath))
            .await?
            .map_err(EnrollError::from)?;
        orphans.retain(|netns| !self.claims.is_claimed(*netns));
        if orphans.is_empty() {
            return Ok(());
        }
        // Asked after the kernel: a pod that came in between is claimed, or not known yet.
        let all_known = self.all_known();
        let wanted = orphans.clone();
        let mut living = spawn_blocking(move || find(&wanted)).await?;
        for netns in orphans {
            self.let_go(netns, living.remove(&netns), all_known).await?;
        }
        Ok(())
    }

    /// All namespaces that the kernel side holds something for, and that are still there.
    pub(super) async fn living(&self) -> BTreeMap<u64, SharedNetns> {
        let datapath = self.datapath.clone();
        let living = spawn_blocking(move || Ok(find(&known(&datapath).map_err(EnrollError::from)?)));
        let living: Result<_, ReleaseError> = living.await.map_err(ReleaseError::from).flatten();
        living
            .inspect_err(|error| warn!(%error, "which pods there are cannot be told"))
            .unwrap_or_default()
    }

    fn all_known(&self) -> bool {
        self.registry
            .pods()
            .iter()
            .all(|pod| pod.netns.is_some() || matches!(pod.state, PodState::Left(_)))
    }

    async fn let_go(
        &self,
        netns: u64,
        handle: Option<SharedNetns>,
        all_known: bool,
    ) -> Result<(), ReleaseError> {
        let turn = self.claims.turn(netns).await;
        if !matches!(*turn, Holder::Nobody) {
            return Ok(());
        }
        if !all_known && self.is_alive(netns)? {
            self.claims.give_up(netns, turn);
            return Ok(());
        }
        match self.releaser.remove(handle, netns, turn).await {
            Ok(()) => info!(netns, "removed a pod that is gone"),
            Err(error) => warn!(netns, %error, "a pod that is gone could not be removed"),
        }
        Ok(())
    }
}

impl Sweeper {
    fn is_alive(&self, netns: u64) -> Result<bool, EnrollError> {
        Ok(self.datapath.lookup_attached(netns)?
            || self.datapath.lookup_attached_elsewhere(netns)?
            || self.datapath.pod_peers_attached(netns)?
            || detour::is_made(&self.datapath, netns)?
            || self.may_have_filters(netns)?)
    }

    /// Filters are found by way of the netns alone.
    fn may_have_filters(&self, netns: u64) -> Result<bool, EnrollError> {
        let captured = self.releaser.captured_by(netns)?;
        Ok(self.datapath.hook() == Hook::Clsact && captured == Some(Contract::Node))
    }
}

/// All that the kernel side holds something for.
fn known(datapath: &Datapath) -> Result<BTreeSet<u64>, DatapathError> {
    let mut found: BTreeSet<u64> = residue::enrolled_netns(datapath.pins())?.into_iter().collect();
    found.extend(datapath.maps().pods()?.keys().filter_map(Result::ok));
    found.extend(datapath.netns_elsewhere()?);
    Ok(found)
}

/// Those that some process lives in, or that have a name.
fn find(wanted: &BTreeSet<u64>) -> BTreeMap<u64, SharedNetns> {
    let processes = entries("/proc").map(|process| process.join("ns/net"));
    let mut seen = BTreeSet::new();
    processes
        .chain(entries(NAMED))
        .filter_map(|path| {
            let inode = fs::metadata(&path).ok()?.ino();
            let file = File::open(path).ok().filter(|_| seen.insert(inode))?;
            let cookie = inside::cookie(file.as_fd()).ok()?;
            wanted.contains(&cookie).then(|| (cookie, Arc::new(file.into())))
        })
        .collect()
}

fn entries(directory: &str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}
