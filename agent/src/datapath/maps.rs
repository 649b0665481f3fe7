//! The maps, typed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aya::Pod;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuHashMap, SockHash};
use nix::time::ClockId;
use weir_common::address::{Address, OwnAddress};
use weir_common::detour::{ClientEnd, Detour, Original};
use weir_common::event::CounterKey;
use weir_common::filter::{PortRule, RangeRule};
use weir_common::flow::{Decided, Ends, Flow};
use weir_common::interface::InterfaceKey;
use weir_common::listener::ListenerKey;
use weir_common::local_pod::LocalPod;
use weir_common::names::map;
use weir_common::node::NodeSettings;
use weir_common::pod::PodRecord;
use weir_common::ztunnel::{NodeContract, ZtunnelPlace};

use super::sys::{self, RawMap};
use super::{DatapathError, Pins};

/// The pinned maps. Handles are made on use, so that any thread may work with them at once.
#[derive(Clone, Debug)]
pub struct Maps {
    pins: Pins,
    /// Those that an agent has opened: finding a pin, and asking how large keys and values are, takes longer than most
    /// uses of a map.
    held: Arc<BTreeMap<&'static str, Arc<RawMap>>>,
    /// Whether there may be maps of the node contract: most nodes never have them, and to look for a pin takes as long.
    redirects: Arc<AtomicBool>,
}

impl Maps {
    /// The maps of `pins`, which must exist.
    pub(super) fn open(pins: &Pins) -> Result<Self, DatapathError> {
        let mut held = BTreeMap::new();
        for name in map::ALL {
            held.insert(name, Arc::new(RawMap::new(sys::obj_get(&pins.map(name))?)?));
        }
        Ok(Self {
            redirects: Arc::new(pins.map(map::ERA).exists().into()),
            pins: pins.clone(),
            held: Arc::new(held),
        })
    }

    /// Maps of an agent that may not run any more: for the operator's commands.
    #[must_use]
    pub fn adopt(pins: &Pins) -> Self {
        Self {
            pins: pins.clone(),
            held: Arc::default(),
            redirects: Arc::new(true.into()),
        }
    }

    /// Maps of the node contract come now.
    pub(super) fn expect_redirects(&self) {
        self.redirects.store(true, Ordering::Release);
    }

    /// Enrolled pods.
    ///
    /// # Errors
    /// [`DatapathError`] if the map is not there or of another shape.
    pub fn pods(&self) -> Result<HashMap<MapData, u64, PodRecord>, DatapathError> {
        self.hash(map::PODS)
    }

    /// Addresses of enrolled pods.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn own_addresses(&self) -> Result<HashMap<MapData, OwnAddress, u32>, DatapathError> {
        self.hash(map::OWN_ADDRESSES)
    }

    /// Which pod has an address.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn pods_by_address(&self) -> Result<HashMap<MapData, Address, u64>, DatapathError> {
        self.hash(map::PODS_BY_ADDRESS)
    }

    /// Newest listeners.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn newest(&self) -> Result<HashMap<MapData, weir_common::listener::PortKey, u32>, DatapathError> {
        self.hash(map::NEWEST)
    }

    /// Ports on which something in a pod has ever listened; 0 where nothing has.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn listened(&self) -> Result<Array<MapData, u32>, DatapathError> {
        Map::Array(self.data(map::LISTENED)?)
            .try_into()
            .map_err(wrap(map::LISTENED))
    }

    /// Cgroups in which ztunnel's mark is believed.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn ztunnels(&self) -> Result<HashMap<MapData, u64, u32>, DatapathError> {
        self.hash(map::ZTUNNELS)
    }

    /// Where pods without a host side reach ztunnel; the map exists once detours are attached.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn detours(&self) -> Result<HashMap<MapData, u64, Detour>, DatapathError> {
        self.hash(map::DETOURS)
    }

    /// Where connections on their way to ztunnel were going; the map exists once detours are attached.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn originals(&self) -> Result<HashMap<MapData, ClientEnd, Original>, DatapathError> {
        self.hash(map::ORIGINALS)
    }

    /// Probes that may reach the application uncaptured, until when on the monotonic clock.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn passes(&self) -> Result<HashMap<MapData, Flow, u64>, DatapathError> {
        self.hash(map::PASSES)
    }

    /// Port rules.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn port_rules(&self) -> Result<HashMap<MapData, PortRule, u32>, DatapathError> {
        self.hash(map::PORT_RULES)
    }

    /// Interfaces of pods behind which virtual machines are.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn virtual_interfaces(&self) -> Result<HashMap<MapData, InterfaceKey, u32>, DatapathError> {
        self.hash(map::VIRTUAL_INTERFACES)
    }

    /// Pods of the node contract, by address.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn local_pods(&self) -> Result<HashMap<MapData, Address, LocalPod>, DatapathError> {
        self.hash(map::LOCAL_PODS)
    }

    /// Which pod an interface of the host leads to.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn host_interfaces(&self) -> Result<HashMap<MapData, u32, u64>, DatapathError> {
        self.hash(map::HOST_INTERFACES)
    }

    /// What was decided for connections that are open.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn flows(&self) -> Result<HashMap<MapData, Ends, Decided>, DatapathError> {
        Map::LruHashMap(self.data(map::FLOWS)?)
            .try_into()
            .map_err(wrap(map::FLOWS))
    }

    /// Has connections checked anew: pods or addresses that they are checked by have changed. Without the map there
    /// are none.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn begin_era(&self) -> Result<(), DatapathError> {
        if !self.redirects.load(Ordering::Acquire) || !self.exists(map::ERA) {
            return Ok(());
        }
        let mut eras: Array<_, u64> = Map::Array(self.data(map::ERA)?)
            .try_into()
            .map_err(wrap(map::ERA))?;
        eras.set(0, new_era(), 0).map_err(wrap(map::ERA))
    }

    /// Where ztunnels are.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn places(&self) -> Result<Array<MapData, ZtunnelPlace>, DatapathError> {
        Map::Array(self.data(map::PLACES)?)
            .try_into()
            .map_err(wrap(map::PLACES))
    }

    /// Settings of the node contract.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn contract(&self) -> Result<Array<MapData, NodeContract>, DatapathError> {
        Map::Array(self.data(map::CONTRACT)?)
            .try_into()
            .map_err(wrap(map::CONTRACT))
    }

    /// Range rules.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn range_rules(&self) -> Result<LpmTrie<MapData, RangeRule, u32>, DatapathError> {
        let wrap = wrap(map::RANGE_RULES);
        Map::LpmTrie(self.data(map::RANGE_RULES)?)
            .try_into()
            .map_err(wrap)
    }

    /// Counters per pod and reason.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn counters(&self) -> Result<PerCpuHashMap<MapData, CounterKey, u64>, DatapathError> {
        Map::PerCpuHashMap(self.data(map::COUNTERS)?)
            .try_into()
            .map_err(wrap(map::COUNTERS))
    }

    /// Listening sockets.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn listeners(&self) -> Result<SockHash<MapData, ListenerKey>, DatapathError> {
        Map::SockHash(self.data(map::LISTENERS)?)
            .try_into()
            .map_err(wrap(map::LISTENERS))
    }

    /// Events, while somebody listens.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn events(&self) -> Result<aya::maps::RingBuf<MapData>, DatapathError> {
        Map::RingBuf(self.data(map::EVENTS)?)
            .try_into()
            .map_err(wrap(map::EVENTS))
    }

    /// The node's settings.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn node(&self) -> Result<Array<MapData, NodeSettings>, DatapathError> {
        Map::Array(self.data(map::NODE)?)
            .try_into()
            .map_err(wrap(map::NODE))
    }

    fn hash<K: Pod, V: Pod>(&self, name: &'static str) -> Result<HashMap<MapData, K, V>, DatapathError> {
        Map::HashMap(self.data(name)?).try_into().map_err(wrap(name))
    }

    pub(super) fn data(&self, name: &'static str) -> Result<MapData, DatapathError> {
        let opened = match self.held(name) {
            Some(map) => MapData::from_fd(map?),
            None => MapData::from_pin(self.pins.map(name)),
        };
        opened.map_err(wrap(name))
    }

    /// Whether a map is there: those of the node contract come once something needs them.
    pub(super) fn exists(&self, name: &str) -> bool {
        self.pins.map(name).exists()
    }

    /// A map, for those who read its bytes.
    pub(super) fn raw(&self, name: &'static str) -> Result<Arc<RawMap>, DatapathError> {
        match self.held.get(name) {
            Some(map) => Ok(map.clone()),
            None => Ok(Arc::new(RawMap::new(sys::obj_get(&self.pins.map(name))?)?)),
        }
    }

    fn held(&self, name: &'static str) -> Option<Result<OwnedFd, DatapathError>> {
        let map = self.held.get(name)?.as_fd();
        let copied = map.try_clone_to_owned();
        Some(copied.map_err(DatapathError::io(self.pins.map(name))))
    }
}

/// No era comes twice, whoever begins it: two that counted up at once might make one do so.
fn new_era() -> u64 {
    // This clock is always there.
    let since_boot = ClockId::CLOCK_MONOTONIC
        .now()
        .map_or(Duration::ZERO, Duration::from);
    u64::try_from(since_boot.as_nanos()).unwrap_or_default()
}

/// Wraps a map's error with its name, and with the remedy if it is full.
pub fn wrap(map: &'static str) -> impl FnOnce(MapError) -> DatapathError {
    move |source| match (&source, size_flag(map)) {
        (MapError::SyscallError(error), Some(flag)) if is_full(&error.io_error) => {
            DatapathError::MapFull { map, flag }
        }
        _ => DatapathError::Map { map, source },
    }
}

/// The same for maps that are used by their bytes.
pub(super) fn wrap_raw(map: &'static str) -> impl FnOnce(sys::MapError) -> DatapathError {
    move |source| match (source.errno(), size_flag(map)) {
        (errno, Some(flag)) if means_full(errno) => DatapathError::MapFull { map, flag },
        _ => DatapathError::Bytes { map, source },
    }
}

fn is_full(error: &io::Error) -> bool {
    means_full(error.raw_os_error())
}

/// Hash maps say it one way, tries the other.
const fn means_full(errno: Option<i32>) -> bool {
    matches!(errno, Some(libc::E2BIG | libc::ENOSPC))
}

/// The agent's flag that sets the size of a map, for those that do not make room by themselves.
fn size_flag(map: &str) -> Option<&'static str> {
    match map {
        map::PODS
        | map::LISTENERS
        | map::NEWEST
        | map::VIRTUAL_INTERFACES
        | map::DETOURS
        | map::HOST_INTERFACES => Some("--max-pods"),
        map::OWN_ADDRESSES | map::PODS_BY_ADDRESS | map::LOCAL_PODS => {
            Some("--max-pods or --max-addresses-per-pod")
        }
        map::PORT_RULES | map::RANGE_RULES => Some("--max-rules"),
        map::ZTUNNELS => Some("--max-ztunnels"),
        _ => None,
    }
}
