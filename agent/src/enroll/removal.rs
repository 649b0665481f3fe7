//! One pod's way out of the mesh.

use std::os::fd::BorrowedFd;

use weir_common::names::map;
use weir_common::pod::PodEntry;

use super::addresses::{self, Addresses};
use super::filters::{self, Filters};
use super::own::{self, Known};
use super::pod::Enroller;
use super::{EnrollError, captured, entries, interfaces, listeners, netlink, routing, sysctls};
use crate::datapath::remove_filters;
use crate::inside::Sysctls;

/// How far the removal of a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Captured connections are still open; what they need is still there.
    Draining {
        /// How many sockets they have.
        sockets: usize,
    },
    /// Nothing of the pod is left.
    Complete,
}

impl Enroller {
    /// Ends capturing and takes away all that captured connections can do without; [`Self::drain`] takes the rest.
    ///
    /// # Errors
    /// The first [`EnrollError`]; the other steps are taken all the same.
    pub fn release(&self, netns: BorrowedFd<'_>, cookie: u64) -> Result<Removal, EnrollError> {
        let begun = self
            .learn_addresses(netns, cookie)
            .and(self.begin_release(cookie));
        let removal = self.drain(netns, cookie);
        begun.and(removal)
    }

    /// Ends capturing and takes away all that is there. A netns that is gone has taken its part with it.
    ///
    /// # Errors
    /// The first [`EnrollError`]; the other steps are taken all the same.
    pub fn remove(&self, netns: Option<BorrowedFd<'_>>, cookie: u64) -> Result<(), EnrollError> {
        let begun = self.begin_release(cookie);
        let left = netns.map_or_else(|| self.forget(None, cookie), |netns| self.clear(netns, cookie));
        begun.and(left)
    }

    /// Captured connections are told by the pod's addresses, which of a pod in the hands of another layout we do not know.
    fn learn_addresses(&self, netns: BorrowedFd<'_>, cookie: u64) -> Result<(), EnrollError> {
        if self.datapath.entry_elsewhere(cookie)?.is_none() {
            return Ok(());
        }
        let addresses = netlink::ask(netns, addresses::read)?;
        Ok(own::set(
            self.datapath.maps(),
            cookie,
            &addresses,
            Known::Unclear,
        )?)
    }

    fn begin_release(&self, cookie: u64) -> Result<(), EnrollError> {
        let maps = self.datapath.maps();
        let entry = self.entry(cookie)?;
        if let Some(entry) = entry.filter(|entry| entry.has(PodEntry::NODE)) {
            return self.begin_release_redirect(cookie, entry);
        }
        // Without an entry an enrolment was cut short, and nobody knows how far it had come.
        let had_rules = entry.is_none_or(|entry| entry.has(PodEntry::RULES));
        let entry = entry.unwrap_or_default();
        let draining = PodEntry {
            flags: PodEntry::DRAINING | (entry.flags & PodEntry::RULES),
            ..entry
        };
        let steps = [
            self.set_entry(cookie, draining),
            self.datapath.disown_elsewhere(cookie).map_err(EnrollError::from),
            self.datapath.detach_pod(cookie).map_err(EnrollError::from),
            own::hide(maps, cookie).map_err(EnrollError::from),
            filters::apply(maps, cookie, &Filters::default(), had_rules),
            listeners::forget(maps, cookie),
        ];
        steps.into_iter().collect()
    }

    /// Takes away what captured connections need, once there are none.
    ///
    /// # Errors
    /// [`EnrollError`].
    pub fn drain(&self, netns: BorrowedFd<'_>, cookie: u64) -> Result<Removal, EnrollError> {
        if !self
            .entry(cookie)?
            .is_some_and(|entry| entry.has(PodEntry::DRAINING))
        {
            return Ok(Removal::Complete);
        }
        let sockets = if self.is_redirected(cookie)? {
            self.redirected_sockets(cookie)?
        } else {
            captured::sockets(netns, &own::of(self.datapath.maps(), cookie)?)?
        };
        if sockets > 0 {
            return Ok(Removal::Draining { sockets });
        }
        self.clear(netns, cookie)?;
        Ok(Removal::Complete)
    }

    fn is_redirected(&self, cookie: u64) -> Result<bool, EnrollError> {
        Ok(self.entry(cookie)?.is_some_and(|entry| entry.has(PodEntry::NODE)))
    }

    fn clear(&self, netns: BorrowedFd<'_>, cookie: u64) -> Result<(), EnrollError> {
        if self.is_redirected(cookie)? {
            return self.forget(Some(netns), cookie);
        }
        let switched = self.entry(cookie)?.map_or(0, |entry| entry.sysctls);
        interfaces::remove(&self.datapath, netns, cookie)?;
        netlink::run(netns, async |handle| {
            let routes = routing::remove(handle).await;
            routes.and(sysctls::restore(&mut Sysctls::default(), switched))
        })?;
        self.forget(Some(netns), cookie)
    }

    /// Forgets a pod; its entry goes last, so that an interrupted removal is found again. As long as it is there the
    /// kernel side counts, so only the counts go after it.
    fn forget(&self, netns: Option<BorrowedFd<'_>>, cookie: u64) -> Result<(), EnrollError> {
        if self.is_redirected(cookie)? {
            self.clear_redirect(netns, cookie)?;
        }
        own::set(
            self.datapath.maps(),
            cookie,
            &Addresses::default(),
            Known::Unclear,
        )?;
        entries::remove(&mut self.datapath.maps().pods()?, &cookie, map::PODS)?;
        self.datapath.maps().begin_era()?;
        Ok(self.datapath.retire_counts(cookie)?)
    }
}

/// Takes away what is in a pod's namespace, whatever the kernel side knows of the pod; `switched` says which settings
/// were switched on for it. Links stay.
///
/// # Errors
/// The first [`EnrollError`].
pub fn clear_namespace(netns: BorrowedFd<'_>, switched: sysctls::Changed) -> Result<(), EnrollError> {
    remove_filters(netns)?;
    netlink::run(netns, async |handle| {
        routing::ensure_virtual(handle, &[]).await?;
        let routes = routing::remove(handle).await;
        routes.and(sysctls::restore(&mut Sysctls::default(), switched))
    })
}
