//! Tells each pod's task which ztunnel serves its pod, and nobody else: a node has hundreds of such tasks, and all of
//! them would wake for each pod that starts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::ledger::ConnectionId;
use crate::pods::pod::PodUid;

/// Who waits for the acknowledgements of which pod.
#[derive(Default)]
pub struct Acks(Mutex<HashMap<PodUid, watch::Sender<Option<ConnectionId>>>>);

impl Acks {
    /// The last connection that said from now on that it serves the pod.
    pub fn of(&self, uid: &PodUid) -> watch::Receiver<Option<ConnectionId>> {
        let mut waiting = self.lock();
        waiting.retain(|_, sender| !sender.is_closed());
        let sender = waiting.entry(uid.clone());
        sender.or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    /// A ztunnel serves the pod.
    pub fn tell(&self, uid: &PodUid, connection: ConnectionId) {
        if let Some(sender) = self.lock().get(uid) {
            sender.send_replace(Some(connection));
        }
    }

    /// A panic elsewhere leaves whole entries behind.
    fn lock(&self) -> MutexGuard<'_, HashMap<PodUid, watch::Sender<Option<ConnectionId>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Acks;
    use crate::pods::pod::PodUid;
    use crate::zds::ledger::{Backoff, ConnectionId, Ledger};

    fn uid(name: &str) -> PodUid {
        PodUid::new(name).unwrap()
    }

    fn connection() -> ConnectionId {
        let backoff = Backoff {
            first: Duration::ZERO,
            longest: Duration::ZERO,
        };
        Ledger::new(backoff).open()
    }

    #[test]
    fn an_acknowledgement_is_told_to_its_pod_alone() {
        let acks = Acks::default();
        let (mut a, b) = (acks.of(&uid("a")), acks.of(&uid("b")));
        acks.tell(&uid("a"), connection());
        assert_eq!(*a.borrow_and_update(), Some(connection()));
        assert!(!b.has_changed().unwrap());
        acks.tell(&uid("nobody's"), connection());
    }

    #[test]
    fn nothing_is_left_of_those_who_wait_no_more() {
        let acks = Acks::default();
        let kept = acks.of(&uid("a"));
        drop(acks.of(&uid("b")));
        drop(acks.of(&uid("c")));
        assert_eq!(acks.lock().len(), 2);
        drop(kept);
    }
}
