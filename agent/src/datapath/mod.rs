//! Everything that Weir keeps in the kernel.

mod bpffs;
mod error;
mod links;
mod lookup;
pub mod maps;
pub mod object;
pub mod pins;
mod programs;
pub mod residue;
pub mod sys;

use std::path::PathBuf;

pub use error::DatapathError;
pub use maps::{Maps, Sizes};
pub use pins::Pins;

/// Where and how large Weir's kernel objects are.
#[derive(Clone, Debug)]
pub struct DatapathConfig {
    /// Directory of all pins.
    pub pin_root: PathBuf,
    /// Cgroup that the programs are attached to: the root of the hierarchy sees every pod and the node's own processes.
    pub cgroup: PathBuf,
    /// Sizes of the maps.
    pub sizes: Sizes,
}

/// Weir's programs and maps, attached and pinned.
#[derive(Debug)]
pub struct Datapath {
    pins: Pins,
    maps: Maps,
    pod_loader: object::PodLoader,
}

impl Datapath {
    /// Loads what is missing, replaces older programs in place, and adopts the maps of an earlier run.
    ///
    /// # Errors
    /// [`DatapathError`] names the object and what to do.
    pub fn open(config: &DatapathConfig) -> Result<Self, DatapathError> {
        let pins = Pins::new(&config.pin_root);
        bpffs::ensure(&config.pin_root)?;
        pins.create_directories()?;
        let object = object::load(object::SOCKOPS, &pins, &config.sizes)?;
        programs::attach(object, &pins, &config.cgroup)?;
        let maps = Maps::open(&pins)?;
        let pod_loader = object::PodLoader::new(&pins, &config.sizes);
        Ok(Self {
            pins,
            maps,
            pod_loader,
        })
    }

    /// The maps.
    #[must_use]
    pub const fn maps(&self) -> &Maps {
        &self.maps
    }

    /// The pins.
    #[must_use]
    pub const fn pins(&self) -> &Pins {
        &self.pins
    }
}
