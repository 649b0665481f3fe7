//! What a pod needs that nobody waits for: what is done about it once no more pods come.

use std::os::fd::BorrowedFd;

use weir_common::pod::{PodEntry, PodRecord};

use super::filters::Filters;
use super::interfaces::{self, Wanted};
use super::pod::{Enrolled, Enroller};
use super::sysctls::{self, Needed};
use super::{EnrollError, Told};
use crate::inside::{self, Sysctls};

/// A minute of all ports that ztunnel is given for one client, and half the ports that the pod has for one destination.
const NO_TIMESTAMPS: &str = "TCP timestamps are off (net.ipv4.tcp_timestamps=0), so each port rests for a minute: \
    connections fail beyond some 300 a second from one client, or some 200 a second to one destination; leave them on";

impl Enroller {
    /// Switches on the settings that were left out when the pod was enrolled in a hurry, and brings what is known of it
    /// up to date. The runtime sets those that the pod itself asks for after it has asked for the network, so they are
    /// not known earlier either.
    ///
    /// # Errors
    /// [`EnrollError::NotEnrolled`], [`EnrollError::Sysctl`], [`EnrollError::Datapath`].
    pub fn settle(
        &self,
        netns: BorrowedFd<'_>,
        filters: &Filters,
        enrolled: &mut Enrolled,
    ) -> Result<(), EnrollError> {
        let cookie = enrolled.netns;
        let mut record = self.record(cookie)?.ok_or(EnrollError::NotEnrolled)?;
        record.entry.flags &= !PodEntry::PORTS_REST;
        let needed = Needed {
            v6: filters.uses_v6(&enrolled.addresses),
            late: true,
        };
        let cautions = inside::run(netns, || self.switch_settings(cookie, needed, record))??;
        enrolled.told = Told {
            cautions,
            ..Told::default()
        };
        Ok(())
    }

    /// Puts the guard at the ways out of a pod that was enrolled without it.
    ///
    /// # Errors
    /// [`EnrollError`] names the step.
    pub fn guard(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        virtual_interfaces: &[String],
    ) -> Result<(), EnrollError> {
        let wanted = Wanted {
            guard: self.guards,
            virtual_interfaces: virtual_interfaces.to_vec(),
        };
        interfaces::ensure(&self.datapath, netns, cookie, &wanted)
    }

    /// In the pod's netns, which the calling thread is in. The entry is where it is kept which settings are switched on.
    /// What is returned is odd about them.
    pub(super) fn switch_settings(
        &self,
        cookie: u64,
        needed: Needed,
        PodRecord { mut entry, shown }: PodRecord,
    ) -> Result<Vec<String>, EnrollError> {
        let mut settings = Sysctls::default();
        let timestamps = !needed.late || sysctls::has_timestamps(&mut settings)?;
        entry.flags |= port_flags(timestamps);
        sysctls::ensure(&mut settings, needed, |switched| {
            entry.sysctls |= switched;
            self.set_record(cookie, entry, shown)
        })?;
        Ok(if timestamps {
            Vec::new()
        } else {
            vec![NO_TIMESTAMPS.to_owned()]
        })
    }
}

/// Flags of the entry of a pod with, or without, TCP timestamps.
pub(crate) const fn port_flags(timestamps: bool) -> u32 {
    if timestamps { 0 } else { PodEntry::PORTS_REST }
}
