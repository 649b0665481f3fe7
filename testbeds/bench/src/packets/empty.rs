//! Programs that do nothing, each right before one of Weir's: what the kernel charges every run with, on the same packets.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::Result;
use weir_agent::datapath::sys::{self, BEFORE, Target};

use super::spot::Spot;
use crate::bpf::{self, Runs};

/// Each is one program, whatever the kernel's number for it.
const ONLY: u32 = 0;

/// One for each of Weir's programs, wherever that one runs.
pub struct Empty {
    programs: BTreeMap<String, OwnedFd>,
    _links: Vec<OwnedFd>,
}

impl Empty {
    /// Puts them there; they go with this.
    pub fn before(spots: &[Spot]) -> Result<Self> {
        let mut programs = BTreeMap::new();
        let mut links = Vec::new();
        for spot in spots {
            if !programs.contains_key(&spot.program) {
                programs.insert(spot.program.clone(), bpf::empty_program()?);
            }
            let (program, at) = (&programs[&spot.program], Target::Interface(spot.interface));
            let link = spot
                .netns
                .run(|| sys::link_create(program.as_fd(), at, spot.attach, BEFORE))?;
            links.push(link);
        }
        Ok(Self {
            programs,
            _links: links,
        })
    }

    /// Their runs so far, by the program that each is before.
    pub fn runs(&self) -> Result<Runs> {
        let runs = |(name, program): (&String, &OwnedFd)| {
            Ok(((name.clone(), ONLY), sys::program_runs(program.as_fd())?))
        };
        self.programs.iter().map(runs).collect()
    }
}
