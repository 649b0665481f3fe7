//! Everything that Weir keeps in the kernel.

mod bpffs;
pub mod counters;
mod detour;
mod entries;
mod error;
pub mod fill;
mod filter;
mod guard;
mod interface;
mod links;
mod listeners;
pub mod lookup;
pub mod maps;
pub mod object;
mod occupied;
mod order;
mod other_layout;
mod pairs;
pub mod pins;
mod programs;
mod qdisc;
pub mod redirect;
pub(crate) mod refusal;
pub mod residue;
pub mod shapes;
mod sizes;
mod steer;
mod stock;
pub mod sys;
mod virtual_interface;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aya::Ebpf;

pub use bpffs::ensure as ensure_pin_root;
pub use error::DatapathError;
pub use filter::remove_all as remove_filters;
pub use interface::{Hook, Interface, Link};
pub use maps::Maps;
pub use other_layout::OtherLayout;
pub use pins::Pins;
pub use refusal::Refusal;
pub use sizes::Sizes;

use other_layout::OtherLayouts;
use shapes::Shapes;

/// Where and how large Weir's kernel objects are.
#[derive(Clone, Debug)]
pub struct DatapathConfig {
    /// Directory of all pins.
    pub pin_root: PathBuf,
    /// Version of the layout: [`weir_common::names::LAYOUT_VERSION`], unless a test plays another one.
    pub layout: u32,
    /// Cgroup that the programs are attached to: the root of the hierarchy sees every pod and the node's own processes.
    pub cgroup: PathBuf,
    /// Sizes of the maps.
    pub sizes: Sizes,
    /// How programs are put at interfaces.
    pub hook: Hook,
}

/// Weir's programs and maps, attached and pinned.
#[derive(Debug)]
pub struct Datapath {
    pins: Pins,
    others: OtherLayouts,
    maps: Maps,
    loader: object::Loader,
    cgroup: PathBuf,
    hook: Hook,
    retiring: Mutex<()>,
    stock: stock::Stock,
    /// The object of the node contract, once something needs it.
    redirect: Mutex<Option<Ebpf>>,
    turn: Mutex<()>,
}

impl Datapath {
    /// Loads what is missing, replaces older programs in place, and adopts the maps of an earlier run. Pods in the hands
    /// of another layout stay there until they are enrolled.
    ///
    /// # Errors
    /// [`DatapathError`] names the object and what to do. What is there and cannot be taken over is untouched then.
    pub fn open(config: &DatapathConfig) -> Result<Self, DatapathError> {
        let pins = Pins::of_layout(&config.pin_root, config.layout);
        bpffs::ensure(&config.pin_root)?;
        let shapes = Shapes::read()?;
        shapes.expect_all(&pins)?;
        let others = OtherLayouts::open(&pins, &shapes)?;
        pins.create_directories()?;
        others.hand_on(&pins)?;
        let loader = object::Loader::new(&pins, &config.sizes);
        programs::attach(loader.load(object::SOCKOPS)?, &pins, &config.cgroup)?;
        let maps = Maps::open(&pins)?;
        others.hand_on_trust(&maps)?;
        Ok(Self {
            pins,
            others,
            maps,
            loader,
            cgroup: config.cgroup.clone(),
            hook: config.hook,
            retiring: Mutex::default(),
            stock: stock::Stock::default(),
            redirect: Mutex::default(),
            turn: Mutex::default(),
        })
    }

    /// What another agent has put there, to be taken away; its filters and its links, whichever it had.
    #[must_use]
    pub fn adopt(pins: Pins) -> Self {
        Self {
            maps: Maps::adopt(&pins),
            loader: object::Loader::new(&pins, &Sizes::default()),
            pins,
            others: OtherLayouts::default(),
            cgroup: PathBuf::new(),
            hook: Hook::Clsact,
            retiring: Mutex::default(),
            stock: stock::Stock::default(),
            redirect: Mutex::default(),
            turn: Mutex::default(),
        }
    }

    /// Does work that reads maps and then changes what must agree with all of them.
    pub fn one_at_a_time<T>(&self, work: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// How programs are put at interfaces.
    #[must_use]
    pub const fn hook(&self) -> Hook {
        self.hook
    }

    /// The cgroup that the node's programs are attached to.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The node's programs that are not attached to the cgroup any more.
    ///
    /// # Errors
    /// [`DatapathError`] if a link or the cgroup cannot be read.
    pub fn unattached(&self) -> Result<Vec<&'static str>, DatapathError> {
        programs::unattached(&self.pins, &self.cgroup)
    }

    /// Names of others' programs that rewrite, if they do, destinations before ours see them or after ours put them back.
    ///
    /// # Errors
    /// As [`Self::unattached`].
    pub fn out_of_order(&self) -> Result<Vec<String>, DatapathError> {
        order::beyond_ours(&self.pins, &self.cgroup)
    }

    /// The node's programs that are attached nowhere.
    ///
    /// # Errors
    /// [`DatapathError`] if a link cannot be read.
    pub fn missing(&self) -> Result<Vec<&'static str>, DatapathError> {
        programs::missing(&self.pins)
    }

    /// Whether the node's programs see all that happens below a cgroup.
    ///
    /// # Errors
    /// As [`Self::unattached`].
    pub fn covers(&self, cgroup: &Path) -> Result<bool, DatapathError> {
        Ok(programs::unattached(&self.pins, cgroup)?.is_empty())
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
