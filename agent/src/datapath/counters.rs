//! The counts of the kernel side's decisions.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use aya::maps::{MapData, MapError, PerCpuHashMap, PerCpuValues};
use aya::util::nr_cpus;
use weir_common::event::CounterKey;
use weir_common::names::map;
use weir_common::reason::{Reason, Verdict};

use super::{Datapath, DatapathError, Maps, maps};

/// No netns has this cookie; under it are the counts of pods that have gone, so that the sum outlives the agent.
const GONE: u64 = 0;

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
            // The walk begins anew when an entry goes meanwhile: none may count twice.
            let counts = &mut pods.entry(key.netns).or_default().0;
            counts.insert(reason, per_cpu.iter().sum());
        }
    }
    Ok(pods)
}

impl Datapath {
    /// The counts of all pods, those that have gone too, and those of each by netns cookie.
    ///
    /// # Errors
    /// [`DatapathError`] if the map cannot be read.
    pub fn counts(&self) -> Result<(Counts, BTreeMap<u64, Counts>), DatapathError> {
        // Nothing moves meanwhile, or it would count twice or not at all.
        let _turn = self.retiring.lock().unwrap_or_else(PoisonError::into_inner);
        let by_pod = by_pod(self.maps())?;
        let mut sum = Counts::default();
        by_pod.values().for_each(|counts| sum.merge(counts));
        Ok((sum, by_pod))
    }

    /// Makes room for another pod's counts. Those of the pod that goes stay in the sum, which never falls.
    ///
    /// # Errors
    /// [`DatapathError`] if the map cannot be changed.
    pub fn retire_counts(&self, netns: u64) -> Result<(), DatapathError> {
        let _turn = self.retiring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counters = self.maps().counters()?;
        Reason::ALL
            .iter()
            .try_for_each(|reason| retire(&mut counters, netns, *reason))
            .map_err(maps::wrap(map::COUNTERS))
    }
}

type Counters = PerCpuHashMap<MapData, CounterKey, u64>;

fn retire(counters: &mut Counters, netns: u64, reason: Reason) -> Result<(), MapError> {
    let key = |netns| CounterKey {
        netns,
        reason: reason as u32,
        reserved: 0,
    };
    let Some(count) = read(counters, &key(netns))? else {
        return Ok(());
    };
    let mut kept = vec![0; nr_cpus().map_err(|(_, error)| error)?];
    if let Some(first) = kept.first_mut() {
        *first = count + read(counters, &key(GONE))?.unwrap_or(0);
    }
    counters.insert(key(GONE), PerCpuValues::try_from(kept)?, 0)?;
    counters.remove(&key(netns))
}

fn read(counters: &Counters, key: &CounterKey) -> Result<Option<u64>, MapError> {
    match counters.get(key, 0) {
        Ok(per_cpu) => Ok(Some(per_cpu.iter().sum())),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
