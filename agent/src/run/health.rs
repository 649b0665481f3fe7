//! What is wrong with parts of the agent that go on trying.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Troubles by part; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Health {
    /// Notes what is wrong with a part, or that it is well.
    pub fn set(&self, part: &'static str, trouble: Option<String>) {
        match trouble {
            Some(trouble) => _ = self.lock().insert(part, trouble),
            None => _ = self.lock().remove(part),
        }
    }

    /// What is wrong with a part.
    #[must_use]
    pub fn get(&self, part: &'static str) -> Option<String> {
        self.lock().get(part).cloned()
    }

    /// All troubles, a sentence each.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let troubles = self.lock();
        troubles
            .iter()
            .map(|(part, trouble)| format!("{part}: {trouble}"))
            .collect()
    }

    /// A panic elsewhere leaves plain data behind, which is still true.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
