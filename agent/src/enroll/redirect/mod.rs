//! What a pod needs whose connections are redirected on the node to a ztunnel that has a netns of its own.

pub mod inspect;
mod local;
mod open;
mod wiring;
pub mod ztunnel;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use tokio::sync::watch;
use weir_common::pod::PodEntry;

use super::addresses::{self, Addresses};
use super::filters::{self, Filters};
use super::own::{self, Known};
use super::pod::{Enrolled, Enroller};
use super::{EnrollError, netlink};
use crate::datapath::Hook;

pub use wiring::Joint;

/// The ztunnels of the node, as pods' enrolment needs to know them.
#[derive(Clone, Debug, Default)]
pub struct Ztunnels {
    /// The one that takes new connections.
    pub current: Option<Current>,
    /// The namespaces of all that are known.
    pub netns: Vec<Arc<OwnedFd>>,
}

/// The ztunnel that takes new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its netns cookie.
    pub cookie: u64,
    /// The bridge that its interface is a port of.
    pub bridge: Option<u32>,
}

/// The node's side of redirecting.
#[derive(Clone, Debug)]
pub struct NodeSide {
    host: Arc<OwnedFd>,
    ztunnels: watch::Receiver<Arc<Ztunnels>>,
}

impl NodeSide {
    /// The side of the node with this netns.
    #[must_use]
    pub const fn new(host: Arc<OwnedFd>, ztunnels: watch::Receiver<Arc<Ztunnels>>) -> Self {
        Self { host, ztunnels }
    }

    /// The same, where nobody keeps ztunnels any more.
    #[must_use]
    pub fn abandoned(host: Arc<OwnedFd>) -> Self {
        // What is read from it stays as it is.
        let (_, ztunnels) = watch::channel(Arc::default());
        Self { host, ztunnels }
    }

    /// The ztunnels, to be watched.
    #[must_use]
    pub fn ztunnels(&self) -> watch::Receiver<Arc<Ztunnels>> {
        self.ztunnels.clone()
    }

    /// The node's netns.
    #[must_use]
    pub fn host(&self) -> BorrowedFd<'_> {
        self.host.as_fd()
    }

    fn current(&self) -> Option<Current> {
        self.ztunnels.borrow().current
    }
}

impl Enroller {
    /// Makes all that a pod needs for its connections to be redirected, without redirecting any.
    pub(super) fn apply_redirect(
        &self,
        side: &NodeSide,
        (netns, cookie): (BorrowedFd<'_>, u64),
        filters: &Filters,
        entry: Option<PodEntry>,
        known: Known<'_>,
    ) -> Result<Enrolled, EnrollError> {
        let had = entry.unwrap_or_default();
        self.datapath.prepare_redirect()?;
        let joints = wiring::of_pod(netns, side.host())?;
        let addresses = netlink::run(netns, async |handle| addresses::read(handle).await)?;
        if joints.iter().all(|joint| joint.addresses.is_empty()) {
            return Err(EnrollError::NoAddress);
        }
        let maps = self.datapath.maps();
        own::set(maps, cookie, &addresses, known)?;
        filters::apply(maps, cookie, filters, had.has(PodEntry::RULES))?;
        let flags = filters.entry_flags() | PodEntry::NODE | (had.flags & PodEntry::REDIRECTING);
        self.set_entry(cookie, PodEntry { flags, sysctls: 0 })?;
        let bridge = side.current().and_then(|current| current.bridge);
        local::set(maps, cookie, &joints, bridge)?;
        let peers: Vec<_> = joints.iter().map(|joint| joint.peer.clone()).collect();
        let hook = Hook::of_this_kernel();
        self.datapath
            .attach_pod_peers(side.host(), cookie, hook, &peers)?;
        let mut stale = local::interfaces_of(maps, cookie)?;
        stale.retain(|interface| peers.iter().all(|peer| peer.index != *interface));
        self.datapath
            .detach_pod_peers(side.host(), cookie, hook, &stale)?;
        stale
            .iter()
            .try_for_each(|interface| local::forget_interface(maps, *interface))?;
        Ok(Enrolled {
            netns: cookie,
            addresses,
        })
    }

    /// Redirects the pod's connections from now on; those that are open go on as they are. Without a ztunnel they would
    /// stop, so it is waited for.
    ///
    /// # Errors
    /// [`EnrollError::NoZtunnel`], [`EnrollError`] if the open ones cannot be listed.
    pub fn redirect(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        addresses: &Addresses,
    ) -> Result<(), EnrollError> {
        let mut entry = self.entry(cookie)?.ok_or(EnrollError::NotEnrolled)?;
        if entry.has(PodEntry::REDIRECTING) {
            return Ok(());
        }
        if self.side()?.current().is_none() {
            return Err(EnrollError::NoZtunnel);
        }
        open::pass(self.datapath.maps(), netns, cookie, &addresses.own)?;
        entry.flags |= PodEntry::REDIRECTING;
        self.set_entry(cookie, entry)
    }

    /// Ends redirecting new connections; what is known of the others stays.
    pub(super) fn begin_release_redirect(&self, cookie: u64, entry: PodEntry) -> Result<(), EnrollError> {
        let maps = self.datapath.maps();
        let draining = PodEntry {
            flags: PodEntry::NODE | PodEntry::DRAINING,
            ..entry
        };
        let steps = [
            self.set_entry(cookie, draining),
            self.datapath.retire_counts(cookie).map_err(EnrollError::from),
            own::hide(maps, cookie).map_err(EnrollError::from),
            filters::apply(maps, cookie, &Filters::default(), entry.has(PodEntry::RULES)),
        ];
        steps.into_iter().collect()
    }

    /// How many sockets ztunnels still have for the pod.
    pub(super) fn redirected_sockets(&self, cookie: u64) -> Result<usize, EnrollError> {
        let own = own::of(self.datapath.maps(), cookie)?
            .into_iter()
            .map(Into::into)
            .collect();
        let ztunnels = self.side()?.ztunnels.borrow().clone();
        ztunnels
            .netns
            .iter()
            .map(|netns| open::in_ztunnel(netns.as_fd(), &own))
            .sum()
    }

    /// Takes the programs and what they know of the pod away.
    pub(super) fn clear_redirect(&self, cookie: u64) -> Result<(), EnrollError> {
        let maps = self.datapath.maps();
        let interfaces = local::interfaces_of(maps, cookie)?;
        let detached = match &self.side {
            Some(side) => {
                let hook = Hook::of_this_kernel();
                self.datapath
                    .detach_pod_peers(side.host(), cookie, hook, &interfaces)
            }
            None => Ok(()),
        };
        let unpinned = self.datapath.detach_pod(cookie);
        for interface in interfaces {
            local::forget_interface(maps, interface)?;
        }
        local::forget_addresses(maps, cookie)?;
        Ok(detached.and(unpinned)?)
    }

    fn side(&self) -> Result<&NodeSide, EnrollError> {
        self.side.as_ref().ok_or(EnrollError::NoZtunnel)
    }
}
