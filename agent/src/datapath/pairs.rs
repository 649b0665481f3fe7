//! What is remembered of connections, and between which addresses there may be something of it.

use std::collections::BTreeSet;

use aya::maps::{Array, HashMap, Map, MapData};
use weir_common::flow::{Decided, Ends, PairTime};
use weir_common::names::map;

use super::DatapathError;
use super::maps::{Maps, wrap};

/// Entries that come and go meanwhile may have the kernel begin anew with its list: so many times its length are enough.
const ROUNDS: usize = 2;

impl Maps {
    /// Remembers what was decided for connections, in an era that begins with it.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn remember(
        &self,
        connections: impl IntoIterator<Item = Ends>,
        decided: Decided,
    ) -> Result<(), DatapathError> {
        let (mut pairs, mut flows) = (self.pairs()?, self.flows()?);
        let now = pair_time(&self.pair_times()?)?.written();
        for ends in connections {
            // Programs look only where this says that there may be something.
            pairs.set(ends.pair(), now, 0).map_err(wrap(map::PAIRS))?;
            flows.insert(ends, decided, 0).map_err(wrap(map::FLOWS))?;
        }
        self.begin_era()
    }

    /// What earlier programs or agents have written counts, whatever it was.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub(super) fn begin_pairs(&self) -> Result<(), DatapathError> {
        let mut times = self.pair_times()?;
        let begun = pair_time(&times)?.begun();
        times.set(0, begun, 0).map_err(wrap(map::PAIR_TIME))
    }

    /// Lets go of pairs of addresses between which nothing is remembered any longer. It has to be long since the last
    /// time: only programs that run since then are known to write what is written from then on.
    ///
    /// # Errors
    /// As [`Self::pods`].
    pub fn renew_pairs(&self) -> Result<(), DatapathError> {
        if !self.exists(map::PAIR_TIME) {
            return Ok(());
        }
        let (mut pairs, mut times) = (self.pairs()?, self.pair_times()?);
        let time = pair_time(&times)?;
        let room = self.raw(map::FLOWS)?.max_entries() as usize;
        let Some(remembered) = remembered(&self.flows()?, room)? else {
            return Ok(());
        };
        for pair in remembered {
            let now = time.written();
            pairs.set(pair, now, 0).map_err(wrap(map::PAIRS))?;
        }
        times.set(0, time.renewed(), 0).map_err(wrap(map::PAIR_TIME))
    }

    fn pairs(&self) -> Result<Array<MapData, u32>, DatapathError> {
        Map::Array(self.data(map::PAIRS)?)
            .try_into()
            .map_err(wrap(map::PAIRS))
    }

    fn pair_times(&self) -> Result<Array<MapData, PairTime>, DatapathError> {
        Map::Array(self.data(map::PAIR_TIME)?)
            .try_into()
            .map_err(wrap(map::PAIR_TIME))
    }
}

fn pair_time(times: &Array<MapData, PairTime>) -> Result<PairTime, DatapathError> {
    times.get(&0, 0).map_err(wrap(map::PAIR_TIME))
}

/// Pairs of the connections of which something is remembered, unless they change too quickly to be listed. One that is
/// remembered meanwhile, which the list may pass over, is written as all are.
fn remembered(
    flows: &HashMap<MapData, Ends, Decided>,
    room: usize,
) -> Result<Option<BTreeSet<u32>>, DatapathError> {
    let mut pairs = BTreeSet::new();
    for (number, ends) in flows.keys().enumerate() {
        if number > ROUNDS * room {
            return Ok(None);
        }
        pairs.insert(ends.map_err(wrap(map::FLOWS))?.pair());
    }
    Ok(Some(pairs))
}
