//! One pod's way into the mesh.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use weir_common::pod::{PodEntry, PodRecord, Shown};
use weir_netdetect::choose::Contract;

use super::addresses::{self, Addresses};
use super::filters::{self, Filters};
use super::interfaces::{self, Wanted};
use super::listeners::Repaired;
use super::own::{self, Known};
use super::redirect::NodeSide;
use super::requests::Requests;
use super::sysctls::Needed;
use super::watch::NetnsWatch;
use super::{EnrollError, Told, listeners, netlink, routing, wiring};
use crate::datapath::Datapath;
use crate::inside;

/// What the kernel holds for an enrolled pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The pod's netns cookie.
    pub netns: u64,
    /// Its addresses.
    pub addresses: Addresses,
    /// What the way in which it is connected means, as far as the contract depends on it. For the others
    /// [`Enroller::told_of`] looks.
    pub told: Told,
}

/// Applies and takes back what a pod needs in the kernel. Two calls for one netns must not run at once.
#[derive(Clone, Debug)]
pub struct Enroller {
    pub(super) datapath: Arc<Datapath>,
    host_netns: u64,
    pub(super) guards: bool,
    hurries: bool,
    host: Option<Arc<OwnedFd>>,
    pub(super) side: Option<NodeSide>,
}

impl Enroller {
    /// An enroller for the node whose own netns has this cookie.
    #[must_use]
    pub const fn new(datapath: Arc<Datapath>, host_netns: u64) -> Self {
        Self {
            datapath,
            host_netns,
            guards: false,
            hurries: false,
            host: None,
            side: None,
        }
    }

    /// The same, which can also redirect pods' connections on the node.
    #[must_use]
    pub fn with_node_side(mut self, side: Option<NodeSide>) -> Self {
        self.side = side;
        self
    }

    /// The same, which knows the node's netns, and so how pods are connected to it.
    #[must_use]
    pub fn with_host(mut self, host: Arc<OwnedFd>) -> Self {
        self.host = Some(host);
        self
    }

    /// The same, which also puts the guard at the ways out of each pod.
    #[must_use]
    pub const fn with_guard(mut self, guards: bool) -> Self {
        self.guards = guards;
        self
    }

    /// The same, which does only what has to be there before a pod's first connection, for pods that start. The rest is
    /// for one that does not hurry.
    #[must_use]
    pub const fn in_a_hurry(mut self) -> Self {
        self.hurries = true;
        self
    }

    /// The cookie of a pod's netns.
    ///
    /// # Errors
    /// [`EnrollError::HostNetns`] if it is no pod's.
    pub fn cookie(&self, netns: BorrowedFd<'_>) -> Result<u64, EnrollError> {
        match inside::cookie(netns)? {
            cookie if cookie == self.host_netns => Err(EnrollError::HostNetns),
            cookie => Ok(cookie),
        }
    }

    /// Makes all that a pod needs, without capturing. Repeating it brings the pod up to date; `before` is what this
    /// process did last. What a failed call has done is undone unless the pod was enrolled before. From what is read on
    /// it is watched.
    ///
    /// # Errors
    /// [`EnrollError`] names the step.
    pub fn enroll(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        (contract, filters): (Contract, &Filters),
        before: Option<&Enrolled>,
        watch: &mut Option<NetnsWatch>,
    ) -> Result<Enrolled, EnrollError> {
        let mut entry = self.entry(cookie)?;
        if entry.is_some_and(|entry| entry.has(PodEntry::NODE) != (contract == Contract::Node)) {
            // It was enrolled by the other contract.
            self.remove(Some(netns), cookie)?;
            entry = None;
        }
        let enrolled = match (contract, &self.side) {
            (Contract::InPod, _) => self.apply((netns, cookie), filters, entry, before, watch),
            (Contract::Node, Some(side)) => {
                if watch.is_none() {
                    *watch = Some(NetnsWatch::start(netns)?);
                }
                let known = known(entry, before);
                self.apply_redirect(side, (netns, cookie), filters, entry, known)
            }
            (Contract::Node, None) => Err(EnrollError::NoZtunnel),
        };
        if enrolled.is_err() && entry.is_none() {
            // The first error is the one worth telling; the next attempt meets what could not be undone.
            self.remove(Some(netns), cookie).ok();
        }
        enrolled
    }

    /// What the way means in which a pod with ztunnel's sockets in it is connected. It takes a look at all interfaces,
    /// addresses, routes and rules of the pod, and nothing waits for it.
    ///
    /// # Errors
    /// [`EnrollError::Netns`].
    pub fn told_of(&self, netns: BorrowedFd<'_>, virtual_interfaces: &[String]) -> Result<Told, EnrollError> {
        let Some(host) = &self.host else {
            return Ok(Told::default());
        };
        netlink::run(netns, async |handle| {
            Ok(wiring::told_of(handle, (netns, host.as_fd()), virtual_interfaces).await)
        })
    }

    /// Lets the kernel capture the pod's new connections.
    ///
    /// # Errors
    /// [`EnrollError::NotEnrolled`], also if another pod of the netns has let go of it meanwhile: half of what capturing
    /// at the sockets needs is gone then, and the rest goes soon. [`EnrollError::Datapath`].
    pub fn capture(&self, cookie: u64) -> Result<(), EnrollError> {
        let before = self.record(cookie)?.ok_or(EnrollError::NotEnrolled)?;
        let mut entry = before.entry;
        if entry.has(PodEntry::DRAINING) && !entry.has(PodEntry::NODE) {
            return Err(EnrollError::NotEnrolled);
        }
        entry.flags &= !PodEntry::RETURNING;
        entry.flags |= if entry.has(PodEntry::NODE) {
            PodEntry::REDIRECTING
        } else {
            PodEntry::CAPTURING
        };
        self.replace(cookie, Some(before), PodRecord { entry, ..before })
    }

    /// The contract by which the kernel captures the pod's connections, if it does.
    ///
    /// # Errors
    /// [`EnrollError::Datapath`].
    pub fn captured_by(&self, cookie: u64) -> Result<Option<Contract>, EnrollError> {
        let entry = self.entry(cookie)?.unwrap_or_default();
        Ok(if entry.has(PodEntry::REDIRECTING) {
            Some(Contract::Node)
        } else if entry.has(PodEntry::CAPTURING) {
            Some(Contract::InPod)
        } else {
            None
        })
    }

    /// Whether captured connections would have a listener to go to.
    ///
    /// # Errors
    /// [`EnrollError::NoListeners`] if not, [`EnrollError::Datapath`].
    pub fn expect_listeners(&self, cookie: u64) -> Result<(), EnrollError> {
        if listeners::are_known(self.datapath.maps(), cookie)? {
            Ok(())
        } else {
            Err(EnrollError::NoListeners)
        }
    }

    /// Whether listeners for captured connections were noted as they began, in a pod that has just come: whether they
    /// are still there is another question.
    ///
    /// # Errors
    /// [`EnrollError::Datapath`].
    pub fn has_noted_listeners(&self, cookie: u64) -> Result<bool, EnrollError> {
        listeners::were_noted(self.datapath.maps(), cookie)
    }

    /// Hands listeners of ztunnel that the kernel side does not know to it.
    ///
    /// # Errors
    /// [`EnrollError`].
    pub fn repair_listeners(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        processes: &[u32],
    ) -> Result<Repaired, EnrollError> {
        listeners::repair(self.datapath.maps(), netns, cookie, processes)
    }

    /// Whether the kernel side holds anything for the netns.
    ///
    /// # Errors
    /// [`EnrollError::Datapath`].
    pub fn knows(&self, cookie: u64) -> Result<bool, EnrollError> {
        Ok(self.entry(cookie)?.is_some())
    }

    fn apply(
        &self,
        (netns, cookie): (BorrowedFd<'_>, u64),
        filters: &Filters,
        entry: Option<PodEntry>,
        before: Option<&Enrolled>,
        watch: &mut Option<NetnsWatch>,
    ) -> Result<Enrolled, EnrollError> {
        let had = entry.unwrap_or_default();
        let known = known(entry, before);
        let wanted = Wanted {
            guard: self.guards,
            virtual_interfaces: filters.virtual_interfaces.clone(),
        };
        let work = |requests: &mut Requests| {
            let addresses = addresses::read(requests)?;
            if addresses.own.is_empty() {
                return Err(EnrollError::NoAddress);
            }
            self.hide_others(cookie, addresses.shown())?;
            own::set(self.datapath.maps(), cookie, &addresses, known)?;
            filters::apply(self.datapath.maps(), cookie, filters, had.has(PodEntry::RULES))?;
            let tracked = PodEntry {
                flags: filters.entry_flags() | still_served(had),
                sysctls: had.sysctls,
            };
            let needed = Needed {
                v6: filters.uses_v6(&addresses),
                late: !self.hurries,
            };
            // With it ztunnel's listeners are noted from now on; what is not captured yet stays so.
            let record = PodRecord {
                entry: tracked,
                shown: addresses.shown(),
            };
            let cautions = self.switch_settings(cookie, needed, record)?;
            routing::ensure(requests, &addresses)?;
            let interfaces = interfaces::prepare(requests, netns, &wanted, entry.is_none())?;
            Ok((addresses, interfaces, cautions))
        };
        let (addresses, interfaces, cautions) = if watch.is_some() {
            netlink::ask(netns, work)?
        } else {
            let (done, begun) = NetnsWatch::start_by(netns, work)?;
            *watch = Some(begun);
            done
        };
        self.datapath.inherit(cookie)?;
        if before.is_none() || !self.datapath.lookup_attached(cookie)? {
            self.datapath.attach_lookup(netns, cookie)?;
        }
        interfaces::attach(
            &self.datapath,
            (netns, cookie),
            &wanted,
            interfaces,
            entry.is_none(),
        )?;
        // From here on it is ours alone.
        self.datapath.disown_elsewhere(cookie)?;
        Ok(Enrolled {
            netns: cookie,
            addresses,
            told: Told {
                cautions,
                ..Told::default()
            },
        })
    }

    /// The pod's entry: ours, or that of another layout in whose hands it still is.
    pub(super) fn entry(&self, cookie: u64) -> Result<Option<PodEntry>, EnrollError> {
        match self.record(cookie)? {
            None => Ok(self.datapath.entry_elsewhere(cookie)?),
            Some(record) => Ok(Some(record.entry)),
        }
    }

    pub(super) fn record(&self, cookie: u64) -> Result<Option<PodRecord>, EnrollError> {
        Ok(self.datapath.maps().pod(cookie)?)
    }

    /// Changes what is done with the pod's connections; the addresses that are shown stay.
    pub(super) fn set_entry(&self, cookie: u64, entry: PodEntry) -> Result<(), EnrollError> {
        let before = self.record(cookie)?;
        let shown = before.unwrap_or_default().shown;
        self.replace(cookie, before, PodRecord { entry, shown })
    }

    /// Has programs go by the map while it is changed, if other addresses than these are shown to them: should that fail,
    /// one that is the pod's no more would else go on as its own.
    fn hide_others(&self, cookie: u64, shown: Shown) -> Result<(), EnrollError> {
        match self.record(cookie)? {
            Some(record) if record.shown != shown => self.set_record(cookie, record.entry, Shown::default()),
            _ => Ok(()),
        }
    }

    pub(super) fn set_record(&self, cookie: u64, entry: PodEntry, shown: Shown) -> Result<(), EnrollError> {
        self.replace(cookie, self.record(cookie)?, PodRecord { entry, shown })
    }

    fn replace(&self, cookie: u64, before: Option<PodRecord>, now: PodRecord) -> Result<(), EnrollError> {
        if before == Some(now) {
            return Ok(());
        }
        let maps = self.datapath.maps();
        maps.set_pod(cookie, now)?;
        Ok(maps.begin_era()?)
    }
}

/// Connections that are open go on, whether the pod was captured or about to be let go.
const fn still_served(had: PodEntry) -> u32 {
    let returning = if had.has(PodEntry::DRAINING) {
        PodEntry::RETURNING
    } else {
        had.flags & PodEntry::RETURNING
    };
    returning | (had.flags & PodEntry::CAPTURING)
}

fn known(entry: Option<PodEntry>, before: Option<&Enrolled>) -> Known<'_> {
    match (entry, before) {
        (None, _) => Known::Nothing,
        (Some(_), Some(before)) => Known::Addresses(&before.addresses),
        (Some(_), None) => Known::Unclear,
    }
}
