//! Instances for pods that are not there yet. Most of what it takes to bring a pod into the mesh is to have the kernel
//! read and prove programs that differ by the pod's cookie alone, so that is done while nobody waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::maps::{Array, MapData};
use tokio::sync::Notify;

use super::{Datapath, DatapathError, object, programs};

/// Of each kind. Kubelet starts a handful of pods at a time, and many more after a reboot only; each one kept takes
/// some 16 KiB of the kernel's memory.
const KEPT: usize = 64;
/// Where the compiler has put the cookie.
const COOKIE: &str = ".data";

/// What is kept in stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The lookup of listeners.
    Lookup,
    /// The guard, for Ethernet.
    Guard,
}

impl Kind {
    const fn object(self) -> &'static [u8] {
        match self {
            Self::Lookup => object::LOOKUP,
            Self::Guard => object::TC,
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Lookup => super::lookup::LOOKUP,
            Self::Guard => super::guard::GUARD.ethernet,
        }
    }
}

/// Loaded objects without a pod.
#[derive(Debug, Default)]
pub(super) struct Stock {
    lookups: Mutex<Vec<Ebpf>>,
    guards: Mutex<Vec<Ebpf>>,
    taken: AtomicU64,
    lacking: Notify,
}

impl Stock {
    /// A panic elsewhere leaves whole objects behind.
    fn of(&self, kind: Kind) -> MutexGuard<'_, Vec<Ebpf>> {
        let shelf = match kind {
            Kind::Lookup => &self.lookups,
            Kind::Guard => &self.guards,
        };
        shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, kind: Kind) -> Option<Ebpf> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.lacking.notify_one();
        self.of(kind).pop()
    }
}

impl Datapath {
    /// An object for the pod with this cookie: from the stock, or loaded now.
    pub(super) fn instance(&self, kind: Kind, cookie: u64) -> Result<Ebpf, DatapathError> {
        if let Some(mut object) = self.stock.take(kind) {
            set_cookie(&mut object, cookie)?;
            return Ok(object);
        }
        self.loader.load_for_pod(kind.object(), cookie)
    }

    /// How many instances pods have asked for so far.
    pub fn instances_taken(&self) -> u64 {
        self.stock.taken.load(Ordering::Relaxed)
    }

    /// Waits until a pod has asked for one.
    pub async fn instance_taken(&self) {
        self.stock.lacking.notified().await;
    }

    /// Loads what the stock lacks, until a pod asks for something: then that comes first.
    ///
    /// # Errors
    /// [`DatapathError`] of the first that cannot be loaded.
    pub fn restock(&self, guards: bool) -> Result<(), DatapathError> {
        let taken = self.instances_taken();
        for kind in [Kind::Lookup, Kind::Guard] {
            if kind == Kind::Guard && !guards {
                continue;
            }
            while self.stock.of(kind).len() < KEPT && self.instances_taken() == taken {
                let mut object = self.loader.load(kind.object())?;
                let name = kind.program();
                let program = object.program_mut(name).ok_or(DatapathError::NoProgram(name))?;
                programs::load(name, program)?;
                self.stock.of(kind).push(object);
            }
        }
        Ok(())
    }
}

fn set_cookie(object: &mut Ebpf, cookie: u64) -> Result<(), DatapathError> {
    let map = object.map_mut(COOKIE).ok_or(DatapathError::NoPlaceForCookie)?;
    let place: Result<Array<&mut MapData, u64>, _> = map.try_into();
    place
        .and_then(|mut place| place.set(0, cookie, 0))
        .map_err(super::maps::wrap(COOKIE))
}
