//! Instances for pods that are not there yet. Most of what it takes to bring a pod into the mesh is to have the kernel
//! read and prove programs that differ by the pod's cookie alone, so that is done while nobody waits for it.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use aya::Ebpf;
use aya::maps::{Array, Map, MapData};
use aya::programs::ProgramFd;
use rustix::process::setpriority_process;
use tokio::sync::Notify;

use super::{Datapath, DatapathError, Hook, guard, lookup, maps, object, programs};

/// What the kernel runs when nothing else wants to.
const NICEST: i32 = 19;
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

    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Lookup => lookup::LOOKUP,
            Self::Guard => guard::GUARD.ethernet,
        }
    }
}

/// A loaded program for one pod. Nothing is kept but the two descriptors: there are many of these.
#[derive(Debug)]
pub(super) struct Instance {
    program: ProgramFd,
    cookie: Map,
}

impl Instance {
    pub(super) fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }

    fn set_cookie(&mut self, cookie: u64) -> Result<(), DatapathError> {
        let place: Result<Array<&mut MapData, u64>, _> = (&mut self.cookie).try_into();
        place
            .and_then(|mut place| place.set(0, cookie, 0))
            .map_err(maps::wrap(COOKIE))
    }
}

/// Instances without a pod.
#[derive(Debug, Default)]
pub(super) struct Stock {
    lookups: Mutex<Vec<Instance>>,
    guards: Mutex<Vec<Instance>>,
    taken: AtomicU64,
    lacking: Notify,
    ended: AtomicBool,
}

impl Stock {
    /// A panic elsewhere leaves whole instances behind.
    fn of(&self, kind: Kind) -> MutexGuard<'_, Vec<Instance>> {
        let shelf = match kind {
            Kind::Lookup => &self.lookups,
            Kind::Guard => &self.guards,
        };
        shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, kind: Kind) -> Option<Instance> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.lacking.notify_one();
        self.of(kind).pop()
    }
}

impl Datapath {
    /// An instance for the pod with this cookie: from the stock, or loaded now.
    pub(super) fn instance(&self, kind: Kind, cookie: u64) -> Result<Instance, DatapathError> {
        let kept = self.stock.take(kind);
        let mut instance = kept.map_or_else(|| self.make(kind), Ok)?;
        instance.set_cookie(cookie)?;
        Ok(instance)
    }

    fn make(&self, kind: Kind) -> Result<Instance, DatapathError> {
        Self::finish(self.loader.load(kind.object())?, kind)
    }

    /// Has the kernel prove the program, which is nearly all of the work.
    fn finish(mut object: Ebpf, kind: Kind) -> Result<Instance, DatapathError> {
        let name = kind.program();
        let program = object.program_mut(name).ok_or(DatapathError::NoProgram(name))?;
        programs::load(name, program)?;
        let program = program.fd().and_then(|program| Ok(program.try_clone()?));
        let program = program.map_err(|error| DatapathError::Program {
            program: name,
            why: error.into(),
        })?;
        let cookie = object.take_map(COOKIE).ok_or(DatapathError::NoPlaceForCookie)?;
        Ok(Instance { program, cookie })
    }

    /// How many instances pods have asked for so far.
    pub fn instances_taken(&self) -> u64 {
        self.stock.taken.load(Ordering::Relaxed)
    }

    /// Waits until a pod has asked for one.
    pub async fn instance_taken(&self) {
        self.stock.lacking.notified().await;
    }

    /// How many instances are ready for pods that come.
    pub fn instances_ready(&self) -> usize {
        [Kind::Lookup, Kind::Guard]
            .map(|kind| self.stock.of(kind).len())
            .iter()
            .sum()
    }

    /// Makes no more instances for pods that come: the agent ends, and would wait for what is made nicely.
    pub fn end_restocking(&self) {
        self.stock.ended.store(true, Ordering::Relaxed);
    }

    /// Makes instances until there are so many of each kind, or a pod asks for something: then that comes first.
    ///
    /// # Errors
    /// [`DatapathError`] of the first that cannot be made.
    pub fn restock(&self, guards: bool, wanted: usize) -> Result<(), DatapathError> {
        let taken = self.instances_taken();
        for kind in [Kind::Lookup, Kind::Guard] {
            // Filters are not made of descriptors.
            if kind == Kind::Guard && !(guards && self.hook == Hook::Tcx) {
                continue;
            }
            while self.stock.of(kind).len() < wanted
                && self.instances_taken() == taken
                && !self.stock.ended.load(Ordering::Relaxed)
            {
                // Not nicely: others may wait for the loader.
                let object = self.loader.load(kind.object())?;
                let instance = nicely(|| Self::finish(object, kind))?;
                self.stock.of(kind).push(instance);
            }
        }
        Ok(())
    }
}

/// Does work that everything else which wants to run goes before: on a thread of its own, as none can take back that it
/// is nice.
fn nicely<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let nice = scope.spawn(|| {
            // As nice as it may be.
            setpriority_process(None, NICEST).ok();
            work()
        });
        nice.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
