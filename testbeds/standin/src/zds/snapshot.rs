//! The order of ZDS messages, apart from what they do: everything that exists, the marker, then changes.

use std::collections::HashSet;

use super::wire::{Request, Workload};

/// How far the node agent has got on this connection.
#[derive(Debug, Default)]
pub struct Snapshot {
    announced: HashSet<String>,
    complete: bool,
}

/// What a message means at its place.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Serve this pod.
    Add(String, Workload),
    /// Nothing to do now.
    Nothing,
    /// Stop serving this pod.
    Remove(String),
    /// Stop serving all but these.
    KeepOnly(HashSet<String>),
}

/// A message that the protocol forbids here; ztunnel ends its process over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// An add that says whose pod it is must.
    #[error("workload_info is required but not present")]
    NoWorkload,
    /// Keep is about the time before the marker.
    #[error("pod keep received after snapshot")]
    LateKeep,
    /// There is one marker per connection.
    #[error("pod snapshot received already")]
    SecondSnapshot,
}

impl Snapshot {
    /// Has the marker come?
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes the next message.
    pub fn step(&mut self, request: Request) -> Result<Step, ProtocolError> {
        match request {
            Request::Add { workload: None, .. } => Err(ProtocolError::NoWorkload),
            Request::Add {
                uid,
                workload: Some(workload),
            } => {
                self.announce(&uid);
                Ok(Step::Add(uid, workload))
            }
            Request::Keep { .. } if self.complete => Err(ProtocolError::LateKeep),
            Request::Keep { uid } => {
                self.announce(&uid);
                Ok(Step::Nothing)
            }
            // Before the marker the pod only leaves the list; the marker then removes it.
            Request::Del { uid } if !self.complete => {
                self.announced.remove(&uid);
                Ok(Step::Nothing)
            }
            Request::Del { uid } => Ok(Step::Remove(uid)),
            Request::SnapshotSent if self.complete => Err(ProtocolError::SecondSnapshot),
            Request::SnapshotSent => {
                self.complete = true;
                Ok(Step::KeepOnly(std::mem::take(&mut self.announced)))
            }
        }
    }

    fn announce(&mut self, uid: &str) {
        if !self.complete {
            self.announced.insert(uid.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(uid: &str) -> Request {
        Request::Add {
            uid: uid.to_owned(),
            workload: Some(Workload::default()),
        }
    }

    fn keep(uid: &str) -> Request {
        Request::Keep { uid: uid.to_owned() }
    }

    fn del(uid: &str) -> Request {
        Request::Del { uid: uid.to_owned() }
    }

    #[test]
    fn the_marker_keeps_what_was_announced() {
        let mut snapshot = Snapshot::default();
        for request in [add("a"), keep("b"), add("c"), del("c")] {
            snapshot.step(request).unwrap();
            assert!(!snapshot.is_complete());
        }
        let kept = ["a".to_owned(), "b".to_owned()].into();
        assert_eq!(snapshot.step(Request::SnapshotSent), Ok(Step::KeepOnly(kept)));
        assert!(snapshot.is_complete());
    }

    #[test]
    fn after_the_marker_pods_come_and_go() {
        let mut snapshot = Snapshot::default();
        snapshot.step(Request::SnapshotSent).unwrap();
        assert_eq!(
            snapshot.step(add("a")),
            Ok(Step::Add("a".to_owned(), Workload::default()))
        );
        assert_eq!(snapshot.step(del("a")), Ok(Step::Remove("a".to_owned())));
    }

    #[test]
    fn what_the_protocol_forbids() {
        let anonymous = Request::Add {
            uid: "a".to_owned(),
            workload: None,
        };
        assert_eq!(
            Snapshot::default().step(anonymous),
            Err(ProtocolError::NoWorkload)
        );
        let mut snapshot = Snapshot::default();
        snapshot.step(Request::SnapshotSent).unwrap();
        assert_eq!(snapshot.step(keep("a")), Err(ProtocolError::LateKeep));
        assert_eq!(
            snapshot.step(Request::SnapshotSent),
            Err(ProtocolError::SecondSnapshot)
        );
    }
}
