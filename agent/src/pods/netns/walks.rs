//! Walks over procfs that are shared by all who look for a pod's processes at about the same time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{FindError, ProcIndex};

/// A walk serves those who come after it for so many times as long as it took: however many pods wait for their
/// processes, looking for them takes a twentieth of a core at most.
const SHARE: u32 = 20;
/// For so long it serves them at least.
const SHORTEST: Duration = Duration::from_millis(50);

/// Walks when it has to; what it gives out may be a moment old.
#[derive(Debug)]
pub struct Walks {
    proc_root: PathBuf,
    last: Mutex<Option<Walk>>,
}

#[derive(Debug)]
struct Walk {
    index: Arc<ProcIndex>,
    over: Instant,
    took: Duration,
}

impl Walk {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.over) < (self.took * SHARE).max(SHORTEST)
    }
}

impl Walks {
    /// Over the procfs that is mounted there.
    #[must_use]
    pub fn new(proc_root: impl Into<PathBuf>) -> Self {
        Self {
            proc_root: proc_root.into(),
            last: Mutex::new(None),
        }
    }

    /// The processes of all pods, as of now or of a moment ago. Who comes during a walk waits for its end.
    ///
    /// # Errors
    /// [`FindError::Proc`].
    pub fn index(&self) -> Result<Arc<ProcIndex>, FindError> {
        // A walk that panicked has left the one before it, which is judged by its age.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        if let Some(walk) = last.as_ref().filter(|walk| walk.is_fresh(begun)) {
            return Ok(walk.index.clone());
        }
        let index = Arc::new(ProcIndex::read(&self.proc_root)?);
        let over = Instant::now();
        *last = Some(Walk {
            index: index.clone(),
            over,
            took: over - begun,
        });
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::{SHORTEST, Walk, Walks};

    #[test]
    fn those_who_come_at_once_share_a_walk() {
        let walks = Walks::new("/proc");
        let first = walks.index().unwrap();
        assert!(Arc::ptr_eq(&first, &walks.index().unwrap()));
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
        walks.last.lock().unwrap().as_mut().unwrap().over = long_ago;
        assert!(!Arc::ptr_eq(&first, &walks.index().unwrap()));
    }

    #[test]
    fn a_walk_that_took_long_serves_for_long() {
        let over = Instant::now();
        let walk = |took| Walk {
            index: Walks::new("/proc").index().unwrap(),
            over,
            took,
        };
        assert!(!walk(Duration::ZERO).is_fresh(over + SHORTEST));
        assert!(walk(SHORTEST).is_fresh(over + SHORTEST * 19));
        assert!(!walk(SHORTEST).is_fresh(over + SHORTEST * 20));
    }

    #[test]
    fn a_walk_that_fails_is_tried_again() {
        let walks = Walks::new("/nowhere");
        walks.index().unwrap_err();
        assert!(walks.last.lock().unwrap().is_none());
    }
}
