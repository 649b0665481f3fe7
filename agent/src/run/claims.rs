//! Who works on a pod's netns: a pod may be replaced by another in the same netns, be taken out and back in, or be
//! gone while no agent ran.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::pods::pod::PodUid;

/// Whose a netns is.
#[derive(Clone, Debug, Default)]
pub(super) enum Holder {
    /// Nobody's: what the kernel side holds for it is an orphan.
    #[default]
    Nobody,
    /// This pod's task looks after it.
    Pod(PodUid),
    /// It has been let go, and its captured connections are waited for.
    Draining(Arc<OwnedFd>),
}

/// The right to change what the kernel side holds for a netns, and whose it is; ends when it is dropped.
pub(super) type Turn = OwnedMutexGuard<Holder>;

/// All claims, by netns cookie; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    by_netns: Arc<Mutex<BTreeMap<u64, Arc<AsyncMutex<Holder>>>>>,
}

impl Claims {
    /// Waits for one's turn.
    pub(super) async fn turn(&self, netns: u64) -> Turn {
        let claim = self.lock().entry(netns).or_default().clone();
        claim.lock_owned().await
    }

    /// Whether the netns is anybody's, or may be in a moment.
    pub(super) fn is_claimed(&self, netns: u64) -> bool {
        self.lock().contains_key(&netns)
    }

    /// Gives the netns up; whoever waits for a turn meets nobody's.
    pub(super) fn give_up(&self, netns: u64, mut turn: Turn) {
        *turn = Holder::Nobody;
        let mut claims = self.lock();
        drop(turn);
        // The map's is the only one left unless somebody waits.
        if claims
            .get(&netns)
            .is_some_and(|claim| Arc::strong_count(claim) == 1)
        {
            claims.remove(&netns);
        }
    }

    /// A panic elsewhere leaves plain data behind, which is still true.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<AsyncMutex<Holder>>>> {
        self.by_netns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Claims, Holder};
    use crate::pods::pod::PodUid;

    #[tokio::test]
    async fn turns_come_one_after_the_other_and_leave_nothing() {
        let claims = Claims::default();
        let mut turn = claims.turn(7).await;
        *turn = Holder::Pod(PodUid::new("a").unwrap());
        let waiting = tokio::spawn({
            let claims = claims.clone();
            async move { claims.turn(7).await }
        });
        assert!(!waiting.is_finished());
        drop(turn);
        let turn = waiting.await.unwrap();
        assert!(matches!(&*turn, Holder::Pod(uid) if uid.as_str() == "a"));
        assert!(claims.is_claimed(7));
        claims.give_up(7, turn);
        assert!(!claims.is_claimed(7));
    }
}
