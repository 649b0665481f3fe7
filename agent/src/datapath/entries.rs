//! Entries that are read and written whenever a pod comes, without a handle of the map for each use.

use weir_common::address::{Address, OwnAddress};
use weir_common::listener::PortKey;
use weir_common::names::map;
use weir_common::pod::PodRecord;

use super::maps::wrap_raw;
use super::{DatapathError, Maps};

impl Maps {
    /// What the kernel side knows of a pod, if it is tracked.
    ///
    /// # Errors
    /// [`DatapathError`] if the map cannot be read.
    pub fn pod(&self, netns: u64) -> Result<Option<PodRecord>, DatapathError> {
        let pods = self.raw(map::PODS)?;
        pods.get(&netns).map_err(wrap_raw(map::PODS))
    }

    /// Tells the kernel side of a pod.
    ///
    /// # Errors
    /// [`DatapathError`], a full map among them.
    pub fn set_pod(&self, netns: u64, record: PodRecord) -> Result<(), DatapathError> {
        let pods = self.raw(map::PODS)?;
        pods.set(&netns, &record).map_err(wrap_raw(map::PODS))
    }

    /// An address is a pod's own.
    ///
    /// # Errors
    /// [`DatapathError`], a full map among them.
    pub fn set_own_address(&self, netns: u64, address: Address) -> Result<(), DatapathError> {
        let own = self.raw(map::OWN_ADDRESSES)?;
        let key = OwnAddress { netns, address };
        own.set(&key, &1_u32).map_err(wrap_raw(map::OWN_ADDRESSES))
    }

    /// An address leads to a pod.
    ///
    /// # Errors
    /// [`DatapathError`], a full map among them.
    pub fn set_pod_by_address(&self, address: Address, netns: u64) -> Result<(), DatapathError> {
        let pods = self.raw(map::PODS_BY_ADDRESS)?;
        pods.set(&address, &netns).map_err(wrap_raw(map::PODS_BY_ADDRESS))
    }

    /// Whether a listener on this port was ever noted for a pod. It may have gone, which [`Self::listeners_among`] tells
    /// at many times the price.
    ///
    /// # Errors
    /// [`DatapathError`] if the map cannot be read.
    pub fn has_noted_listener(&self, netns: u64, port: u16) -> Result<bool, DatapathError> {
        let key = PortKey {
            netns,
            port: u32::from(port),
            reserved: 0,
        };
        let newest = self.raw(map::NEWEST)?;
        let slot: Option<u32> = newest.get(&key).map_err(wrap_raw(map::NEWEST))?;
        Ok(slot.is_some())
    }
}
