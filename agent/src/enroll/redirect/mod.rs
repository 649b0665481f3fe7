//! What a pod needs whose connections are redirected on the node to a ztunnel that has a netns of its own.

pub mod detour;
pub mod inspect;
mod local;
mod open;
mod settings;
mod sides;
mod wiring;
pub mod ztunnel;

use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use weir_common::detour::Detour;
use weir_common::pod::PodEntry;
use weir_netdetect::choose::{ChoiceConfig, MacvlanOutbound, Ztunnel};

use super::addresses::{self, Addresses};
use super::filters::{self, Filters};
use super::own::{self, Known};
use super::pod::{Enrolled, Enroller};
use super::{EnrollError, Told, netlink};
use crate::cgroups::Hierarchy;
use crate::datapath::Datapath;
use crate::inside;

pub use wiring::{Beside, Joint, Site};

/// The ztunnels of the node, as pods' enrolment needs to know them.
#[derive(Clone, Debug, Default)]
pub struct Ztunnels {
    /// Whether they have been looked for.
    pub are_known: bool,
    /// The one that takes new connections.
    pub current: Option<Current>,
    /// The namespaces of all that are known.
    pub netns: Vec<Arc<OwnedFd>>,
    /// Those that have two sides, and where.
    pub divided: Vec<(Arc<OwnedFd>, Arc<Site>)>,
}

/// The ztunnel that takes new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its netns cookie.
    pub cookie: u64,
    /// The bridge that its interface is a port of.
    pub bridge: Option<u32>,
    /// Whether an interface of the node leads to it.
    pub has_host_side: bool,
    /// The node's interface of which it has a child that is reached by Ethernet address.
    pub parent: Option<u32>,
    /// Where connections are made to it.
    pub detour: Detour,
}

impl Current {
    /// The ztunnel with this netns cookie at `site`.
    #[must_use]
    pub fn at(cookie: u64, site: &Site) -> Self {
        let joint = site.joint.as_ref();
        let beside = site.beside.as_ref();
        let addresses = beside.map(|beside| &beside.addresses);
        Self {
            cookie,
            bridge: joint.and_then(|joint| joint.bridge),
            has_host_side: joint.is_some(),
            parent: beside.map(|beside| beside.parent.index),
            detour: detour::to(
                addresses
                    .or(joint.map(|joint| &joint.addresses))
                    .map_or(&[], Vec::as_slice),
            ),
        }
    }

    /// What pods' paths depend on of it.
    #[must_use]
    pub fn for_choice(&self) -> Ztunnel {
        Ztunnel {
            has_host_peer: self.has_host_side,
            macvlan_parents: self.parent.into_iter().collect(),
        }
    }
}

/// What pods' paths would depend on if the ztunnel of this netns took their connections.
///
/// # Errors
/// [`EnrollError`] if the facts cannot be read.
pub fn ztunnel_in(netns: BorrowedFd<'_>, host: BorrowedFd<'_>) -> Result<Ztunnel, EnrollError> {
    match wiring::of_ztunnel(netns, host) {
        Ok(site) => Ok(Current::at(inside::cookie(netns)?, &site).for_choice()),
        Err(EnrollError::ZtunnelWithoutPeer) => Ok(Ztunnel::default()),
        Err(error) => Err(error),
    }
}

/// The node's side of redirecting.
#[derive(Clone, Debug)]
pub struct NodeSide {
    host: Arc<OwnedFd>,
    ztunnels: watch::Receiver<Arc<Ztunnels>>,
    hierarchy: Hierarchy,
    macvlan_outbound: MacvlanOutbound,
    fail_open: bool,
}

impl NodeSide {
    /// The side of the node with this netns and these cgroups.
    #[must_use]
    pub const fn new(
        host: Arc<OwnedFd>,
        hierarchy: Hierarchy,
        ztunnels: watch::Receiver<Arc<Ztunnels>>,
    ) -> Self {
        Self {
            host,
            ztunnels,
            hierarchy,
            macvlan_outbound: MacvlanOutbound::Socket,
            fail_open: false,
        }
    }

    /// The same, with another way out for pods on macvlan.
    #[must_use]
    pub const fn with_macvlan_outbound(mut self, way: MacvlanOutbound) -> Self {
        self.macvlan_outbound = way;
        self
    }

    /// The same, where connections go on uncaptured while there is no ztunnel.
    #[must_use]
    pub const fn with_fail_open(mut self, fail_open: bool) -> Self {
        self.fail_open = fail_open;
        self
    }

    fn choice(&self) -> ChoiceConfig {
        ChoiceConfig {
            macvlan_outbound: self.macvlan_outbound,
            ztunnel: self.current().map(|current| current.for_choice()),
            ..ChoiceConfig::default()
        }
    }

    /// The same, where nobody keeps ztunnels any more.
    #[must_use]
    pub fn abandoned(host: Arc<OwnedFd>) -> Self {
        // What is read from it stays as it is.
        let (_, ztunnels) = watch::channel(Arc::default());
        let nothing_is_attached = Hierarchy {
            root: PathBuf::new(),
            hybrid: false,
        };
        Self::new(host, nothing_is_attached, ztunnels)
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

    /// Ztunnels with two sides speak to and for the pods that are known by now.
    fn divide(&self, datapath: &Datapath, gateways: &[IpAddr]) -> Result<(), EnrollError> {
        let ztunnels = self.ztunnels.borrow().clone();
        let mut divided = ztunnels.divided.iter();
        divided.try_for_each(|(netns, site)| sides::divide(datapath, netns.as_fd(), site, gateways))
    }

    fn is_open(&self) -> bool {
        let ztunnels = self.ztunnels.borrow();
        self.fail_open && ztunnels.are_known && ztunnels.current.is_none()
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
        let reach = wiring::of_pod(netns, side.host(), &side.choice())?;
        let joints = &reach.joints;
        let addresses = netlink::ask(netns, addresses::read)?;
        if addresses.own.is_empty() {
            return Err(EnrollError::NoAddress);
        }
        let maps = self.datapath.maps();
        own::set(maps, cookie, &addresses, known)?;
        filters::apply(maps, cookie, filters, had.has(PodEntry::RULES))?;
        let detoured = if reach.detour { PodEntry::DETOURED } else { 0 };
        let open = if side.is_open() { PodEntry::OPEN } else { 0 };
        // Of captured connections that a pod still has that comes back nothing is remembered.
        let kept = had.flags & PodEntry::IMPLIED;
        let flags = filters.entry_flags() | PodEntry::NODE | detoured | open | kept;
        let entry = PodEntry { flags, sysctls: 0 };
        self.set_record(cookie, entry, addresses.shown())?;
        let bridge = side.current().and_then(|current| current.bridge);
        local::set(maps, cookie, &reach, bridge)?;
        let gateways = reach.beside.iter().flat_map(|beside| &beside.gateways);
        side.divide(&self.datapath, &gateways.copied().collect::<Vec<_>>())?;
        let peers: Vec<_> = joints.iter().map(|joint| joint.peer.clone()).collect();
        self.datapath.attach_pod_peers(side.host(), cookie, &peers)?;
        let own: Vec<_> = reach.beside.iter().map(|beside| beside.inner.clone()).collect();
        self.datapath.steer_exactly(netns, cookie, &own)?;
        if entry.has(PodEntry::REDIRECTING) {
            detour::follow(&self.datapath, side, cookie, entry)?;
        }
        let mut stale = local::interfaces_of(maps, cookie)?;
        stale.retain(|interface| peers.iter().all(|peer| peer.index != *interface));
        self.datapath.detach_pod_peers(side.host(), cookie, &stale)?;
        stale
            .iter()
            .try_for_each(|interface| local::forget_interface(maps, *interface))?;
        Ok(Enrolled {
            netns: cookie,
            addresses,
            told: Told {
                way: reach.way,
                uncaptured: reach.uncaptured,
                cautions: reach.cautions,
            },
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
        if entry.has(PodEntry::DRAINING) {
            // What passes has been remembered since it was captured before; the others are still captured.
            entry.flags &= !PodEntry::DRAINING;
        } else {
            open::pass(self.datapath.maps(), netns, cookie, &addresses.own)?;
        }
        entry.flags |= PodEntry::REDIRECTING;
        self.set_entry(cookie, entry)?;
        detour::follow(&self.datapath, self.side()?, cookie, entry)
    }

    /// Ends redirecting new connections; what is known of the others stays.
    pub(super) fn begin_release_redirect(&self, cookie: u64, entry: PodEntry) -> Result<(), EnrollError> {
        let maps = self.datapath.maps();
        let draining = PodEntry {
            flags: PodEntry::NODE | PodEntry::DRAINING,
            ..entry
        };
        let steps = [
            detour::end(&self.datapath, cookie),
            self.set_entry(cookie, draining),
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
    pub(super) fn clear_redirect(
        &self,
        netns: Option<BorrowedFd<'_>>,
        cookie: u64,
    ) -> Result<(), EnrollError> {
        let maps = self.datapath.maps();
        let interfaces = local::interfaces_of(maps, cookie)?;
        let detached = match &self.side {
            Some(side) => self.datapath.detach_pod_peers(side.host(), cookie, &interfaces),
            None => Ok(()),
        };
        let steered = netns.map_or(Ok(()), |netns| self.datapath.steer_exactly(netns, cookie, &[]));
        let unpinned = self.datapath.detach_pod(cookie);
        for interface in interfaces {
            local::forget_interface(maps, interface)?;
        }
        local::forget_addresses(maps, cookie)?;
        if let Some(side) = &self.side {
            side.divide(&self.datapath, &[])?;
        }
        Ok(detached.and(steered).and(unpinned)?)
    }

    fn side(&self) -> Result<&NodeSide, EnrollError> {
        self.side.as_ref().ok_or(EnrollError::NoZtunnel)
    }
}
