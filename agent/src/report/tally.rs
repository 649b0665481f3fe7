//! Counts reports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lane::Lane;

/// How many reports of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// Were written.
    pub written: u64,
    /// Could not be written; they are written later, unless the pod is gone by then.
    pub failed: u64,
}

/// The counts; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ReportTally(Arc<Mutex<[Reports; Lane::ALL.len()]>>);

impl ReportTally {
    /// The counts of one kind.
    #[must_use]
    pub fn of(&self, lane: Lane) -> Reports {
        self.lock()[lane as usize]
    }

    pub(super) fn note(&self, lane: Lane, written: bool) {
        let reports = &mut self.lock()[lane as usize];
        if written {
            reports.written += 1;
        } else {
            reports.failed += 1;
        }
    }

    /// A panic elsewhere leaves plain data behind, which is still true.
    fn lock(&self) -> MutexGuard<'_, [Reports; Lane::ALL.len()]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
