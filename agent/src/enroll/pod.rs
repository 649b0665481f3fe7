//! One pod's way into the mesh and out of it.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use aya::maps::{HashMap, MapData, MapError};
use weir_common::address::{Address, OwnAddress};
use weir_common::names::map;
use weir_common::pod::PodEntry;

use super::addresses::{self, Addresses};
use super::filters::{self, Filters};
use super::{EnrollError, listeners, netlink, routing, sysctls};
use crate::datapath::{Datapath, DatapathError, maps};
use crate::inside;

/// What the kernel holds for an enrolled pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The pod's netns cookie.
    pub netns: u64,
    /// Its addresses.
    pub addresses: Addresses,
}

/// Applies and takes back what a pod needs in the kernel.
#[derive(Clone, Debug)]
pub struct Enroller {
    datapath: Arc<Datapath>,
    host_netns: u64,
}

impl Enroller {
    /// An enroller for the node whose own netns has this cookie.
    #[must_use]
    pub const fn new(datapath: Arc<Datapath>, host_netns: u64) -> Self {
        Self { datapath, host_netns }
    }

    /// Makes all that a pod needs, with capturing on or off. Repeating it brings the pod up to date. What a failed
    /// call has done is undone unless the pod was enrolled before.
    ///
    /// # Errors
    /// [`EnrollError`] names the step.
    pub fn enroll(
        &self,
        netns: BorrowedFd<'_>,
        filters: &Filters,
        capturing: bool,
    ) -> Result<Enrolled, EnrollError> {
        let cookie = inside::cookie(netns)?;
        if cookie == self.host_netns {
            return Err(EnrollError::HostNetns);
        }
        let was_enrolled = self.entry(cookie)?.is_some();
        let enrolled = self.apply(netns, cookie, filters, capturing);
        if enrolled.is_err() && !was_enrolled {
            // The first error is the one worth telling; the next attempt meets what could not be undone.
            self.release(Some(netns), cookie).ok();
        }
        enrolled
    }

    /// Lets the kernel capture the pod's new connections.
    ///
    /// # Errors
    /// [`EnrollError::Datapath`].
    pub fn capture(&self, cookie: u64) -> Result<(), EnrollError> {
        if let Some(mut entry) = self.entry(cookie)? {
            entry.flags |= PodEntry::CAPTURING;
            self.set_entry(cookie, entry)?;
        }
        Ok(())
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
    ) -> Result<(), EnrollError> {
        listeners::repair(self.datapath.maps(), netns, cookie, processes)
    }

    /// Ends capturing and takes away what belongs to the pod. Rules and routes stay while captured connections live;
    /// the drain takes them. A pod whose netns is gone needs none of that.
    ///
    /// # Errors
    /// The first [`EnrollError`]; the other steps are taken all the same.
    pub fn release(&self, netns: Option<BorrowedFd<'_>>, cookie: u64) -> Result<(), EnrollError> {
        let sysctls = self.entry(cookie)?.map_or(0, |entry| entry.sysctls);
        let steps = [
            self.remove_entry(cookie),
            self.datapath.retire_counts(cookie).map_err(EnrollError::from),
            self.datapath.detach_pod(cookie).map_err(EnrollError::from),
            self.set_addresses(cookie, &Addresses::default()),
            filters::apply(self.datapath.maps(), cookie, &Filters::default()),
            listeners::forget(self.datapath.maps(), cookie),
            netns.map_or(Ok(()), |netns| leave(netns, sysctls)),
        ];
        steps.into_iter().collect()
    }

    fn apply(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        filters: &Filters,
        capturing: bool,
    ) -> Result<Enrolled, EnrollError> {
        let before = self.entry(cookie)?;
        let addresses = netlink::run(netns, addresses::read)?;
        if addresses.own.is_empty() {
            return Err(EnrollError::NoAddress);
        }
        self.set_addresses(cookie, &addresses)?;
        filters::apply(self.datapath.maps(), cookie, filters)?;
        let mut entry = PodEntry {
            flags: filters.entry_flags(),
            sysctls: before.map_or(0, |entry| entry.sysctls),
        };
        entry.flags |= before.map_or(0, |entry| entry.flags & PodEntry::CAPTURING);
        // Tracked first: ztunnel's listeners are noted from now on, nothing is captured yet. And the entry is where it is
        // kept which settings were switched, so without one none is.
        self.set_entry(cookie, entry)?;
        entry.sysctls |= inside::run(netns, sysctls::ensure)??;
        self.set_entry(cookie, entry)?;
        netlink::run(netns, async |handle| routing::ensure(handle, &addresses).await)?;
        self.datapath.attach_lookup(netns, cookie)?;
        if capturing {
            entry.flags |= PodEntry::CAPTURING;
            self.set_entry(cookie, entry)?;
        }
        Ok(Enrolled {
            netns: cookie,
            addresses,
        })
    }

    /// Makes the maps of addresses hold exactly these for the pod.
    fn set_addresses(&self, cookie: u64, addresses: &Addresses) -> Result<(), EnrollError> {
        let mut own = self.datapath.maps().own_addresses()?;
        let mut by_address = self.datapath.maps().pods_by_address()?;
        let wanted: Vec<(Address, u32)> = addresses
            .own
            .iter()
            .map(|(&address, &interface)| (address.into(), interface))
            .collect();
        let stale: Vec<OwnAddress> = own
            .keys()
            .filter_map(Result::ok)
            .filter(|key| key.netns == cookie && wanted.iter().all(|(address, _)| *address != key.address))
            .collect();
        for (address, interface) in wanted {
            own.insert(
                OwnAddress {
                    netns: cookie,
                    address,
                },
                interface,
                0,
            )
            .map_err(maps::wrap(map::OWN_ADDRESSES))?;
            // Link-local addresses are not unique on the node; nobody probes them.
            if !is_link_local(address) {
                by_address
                    .insert(address, cookie, 0)
                    .map_err(maps::wrap(map::PODS_BY_ADDRESS))?;
            }
        }
        for key in stale {
            remove(&mut own, &key, map::OWN_ADDRESSES)?;
            // Another pod may have taken the address over.
            if by_address
                .get(&key.address, 0)
                .is_ok_and(|holder| holder == cookie)
            {
                remove(&mut by_address, &key.address, map::PODS_BY_ADDRESS)?;
            }
        }
        Ok(())
    }

    fn entry(&self, cookie: u64) -> Result<Option<PodEntry>, EnrollError> {
        match self.datapath.maps().pods()?.get(&cookie, 0) {
            Ok(entry) => Ok(Some(entry)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(maps::wrap(map::PODS)(source).into()),
        }
    }

    fn set_entry(&self, cookie: u64, entry: PodEntry) -> Result<(), EnrollError> {
        let mut pods = self.datapath.maps().pods()?;
        Ok(pods.insert(cookie, entry, 0).map_err(maps::wrap(map::PODS))?)
    }

    fn remove_entry(&self, cookie: u64) -> Result<(), EnrollError> {
        Ok(remove(&mut self.datapath.maps().pods()?, &cookie, map::PODS)?)
    }
}

/// Takes away what was put into the pod's netns.
fn leave(netns: BorrowedFd<'_>, switched: sysctls::Changed) -> Result<(), EnrollError> {
    let routes = netlink::run(netns, async |handle| routing::remove(handle).await);
    routes.and(inside::run(netns, || sysctls::restore(switched))?)
}

/// Removes an entry; one that is not there is fine.
fn remove<K: aya::Pod, V: aya::Pod>(
    entries: &mut HashMap<MapData, K, V>,
    key: &K,
    map: &'static str,
) -> Result<(), DatapathError> {
    match entries.remove(key) {
        Err(MapError::KeyNotFound) | Ok(()) => Ok(()),
        Err(source) => Err(maps::wrap(map)(source)),
    }
}

fn is_link_local(address: Address) -> bool {
    match IpAddr::from(address) {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
