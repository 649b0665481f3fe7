//! What is known of ztunnels, for whoever asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_netdetect::choose::Ztunnel;

/// A ztunnel, for `weir status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its pod, or the path of its netns.
    pub name: String,
    /// Whether it listens.
    pub listening: bool,
    /// Whether it takes new connections.
    pub current: bool,
    /// How it is connected, while it listens.
    pub connected: Option<Ztunnel>,
    /// What is wrong.
    pub complaint: Option<String>,
}

impl Kept {
    /// The words for how far one is: it takes new connections, listens only, or cannot be used.
    pub const STATES: [&'static str; 3] = ["current", "listening", "absent"];

    /// The word for it in metrics.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        let [current, listening, absent] = Self::STATES;
        match (self.current, self.listening) {
            (true, _) => current,
            (_, true) => listening,
            _ => absent,
        }
    }
}

/// The ztunnels that are kept; clones share them.
#[derive(Clone, Debug, Default)]
pub struct KeptList(Arc<Mutex<Vec<Kept>>>);

impl KeptList {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Kept> {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
