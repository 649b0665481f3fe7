//! The counts of the kernel side's decisions.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use aya::maps::MapError;
use weir_common::event::CounterKey;
use weir_common::names::map;
use weir_common::reason::{Reason, Verdict};

use super::{Datapath, DatapathError, Maps, maps};

/// How often each reason applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Reason, u64>);

impl Counts {
    /// Counts `reason` so many times more.
    pub fn add(&mut self, reason: Reason, count: u64) {
        *self.0.entry(reason).or_default() += count;
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        for (reason, count) in other.iter() {
            self.add(reason, count);
        }
    }

    /// The reasons that applied, in the order of their table.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }

    /// How often one reason applied.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }

    /// How often reasons with this verdict applied.
    #[must_use]
    pub fn with(&self, verdict: Verdict) -> u64 {
        self.iter()
            .filter(|(reason, _)| reason.verdict() == verdict)
            .map(|(_, count)| count)
            .sum()
    }
}

/// The counts of every pod, by netns cookie, from one walk over the map.
///
/// # Errors
/// [`DatapathError`] if the map cannot be read.
pub fn by_pod(maps: &Maps) -> Result<BTreeMap<u64, Counts>, DatapathError> {
    let mut pods: BTreeMap<u64, Counts> = BTreeMap::new();
    for entry in maps.counters()?.iter() {
        let (key, per_cpu) = entry.map_err(maps::wrap(map::COUNTERS))?;
        // A reason that this version does not know was counted by another's program.
        if let Some(reason) = Reason::from_u32(key.reason) {
            pods.entry(key.netns)
                .or_default()
                .add(reason, per_cpu.iter().sum());
        }
    }
    Ok(pods)
}

impl Datapath {
    /// Makes room for another pod's counts. Those of the pod that goes stay in the sum, which never falls.
    ///
    /// # Errors
    /// [`DatapathError`] if the map cannot be changed.
    pub fn retire_counts(&self, netns: u64) -> Result<(), DatapathError> {
        let mut counters = self.maps().counters()?;
        let mut counts = Counts::default();
        for &reason in Reason::ALL {
            let key = CounterKey {
                netns,
                reason: reason as u32,
                reserved: 0,
            };
            match counters.get(&key, 0) {
                Ok(per_cpu) => counts.add(reason, per_cpu.iter().sum()),
                Err(MapError::KeyNotFound) => continue,
                Err(source) => return Err(maps::wrap(map::COUNTERS)(source)),
            }
            counters.remove(&key).map_err(maps::wrap(map::COUNTERS))?;
        }
        self.retired
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .merge(&counts);
        Ok(())
    }

    /// The counts of all pods that have gone since the start.
    #[must_use]
    pub fn retired(&self) -> Counts {
        self.retired
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
