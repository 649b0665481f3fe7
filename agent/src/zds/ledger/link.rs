//! One connection's share of the ledger.
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::{Backoff, ConnectionId, LiveStep, Outcome, Settlement, SnapshotStep, Ticket, Wanted};
use crate::pods::pod::PodUid;
use crate::zds::protocol::Answer;

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// No hello yet.
    #[default]
    Handshake,
    /// The marker is not acknowledged yet.
    Snapshot,
    /// Adds and deletions as they come.
    Live,
}

/// What one ztunnel was told, and is to be told.
#[derive(Debug, Default)]
pub struct Link {
    stage: Stage,
    /// To be announced before the marker.
    snapshot: VecDeque<PodUid>,
    /// To be looked at after the marker: what is sent depends on what is wanted by then.
    later: VecDeque<PodUid>,
    in_flight: Option<InFlight>,
    told: BTreeMap<PodUid, Told>,
    waiting: Vec<Waiting>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct InFlight {
    uid: PodUid,
    request: Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Add(u64),
    Keep(u64),
    Del,
}

#[derive(Debug)]
struct Told {
    generation: u64,
    state: PodState,
}

#[derive(Debug)]
enum PodState {
    Acked,
    Kept,
    Nacked {
        error: String,
        refusals: u32,
        retry_at: Option<Instant>,
    },
}

#[derive(Debug)]
struct Waiting {
    uid: PodUid,
    ticket: Ticket,
    awaited: Awaited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// This generation or a later one.
    Added(u64),
    Removed,
}

impl Awaited {
    /// Whether the end of `request` ends the wait.
    const fn is_settled_by(self, request: Sent) -> bool {
        match (self, request) {
            (Self::Added(awaited), Sent::Add(sent)) => awaited <= sent,
            (Self::Removed, Sent::Del) => true,
            (Self::Added(_), Sent::Keep(_) | Sent::Del) | (Self::Removed, Sent::Add(_) | Sent::Keep(_)) => {
                false
            }
        }
    }
}

impl Link {
    /// Whether it has said hello.
    pub const fn is_greeted(&self) -> bool {
        !matches!(self.stage, Stage::Handshake)
    }

    /// How far it is.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// How many pods it acknowledged.
    pub fn acked(&self) -> usize {
        self.told
            .values()
            .filter(|told| matches!(told.state, PodState::Acked))
            .count()
    }

    /// How many pods are still to be told or answered.
    pub fn pending(&self) -> usize {
        self.snapshot.len() + self.later.len() + usize::from(self.in_flight.is_some())
    }

    /// Whether it serves the pod as it is wanted now.
    pub fn has_acked(&self, uid: &PodUid, wanted: &Wanted) -> bool {
        self.told
            .get(uid)
            .is_some_and(|told| told.generation == wanted.generation && matches!(told.state, PodState::Acked))
    }

    /// Why it does not serve the pod.
    pub fn nack(&self, uid: &PodUid) -> Option<&str> {
        match &self.told.get(uid)?.state {
            PodState::Nacked { error, .. } => Some(error),
            PodState::Acked | PodState::Kept => None,
        }
    }

    pub(super) fn begin_snapshot(&mut self, wanted: impl Iterator<Item = PodUid>) {
        self.stage = Stage::Snapshot;
        self.snapshot = wanted.collect();
    }

    pub(super) const fn live(&mut self) {
        self.stage = Stage::Live;
    }

    pub(super) fn add(&mut self, uid: &PodUid, generation: u64, ticket: Ticket) {
        self.enqueue(uid);
        self.waiting.push(Waiting {
            uid: uid.clone(),
            ticket,
            awaited: Awaited::Added(generation),
        });
    }

    pub(super) fn remove(&mut self, uid: &PodUid, ticket: Ticket, outcomes: &mut Vec<Outcome>) {
        self.snapshot.retain(|queued| queued != uid);
        // After the marker: that is when ztunnel drops what was not announced.
        self.enqueue(uid);
        self.settle(
            uid,
            |awaited| awaited != Awaited::Removed,
            &Settlement::Superseded,
            outcomes,
        );
        self.waiting.push(Waiting {
            uid: uid.clone(),
            ticket,
            awaited: Awaited::Removed,
        });
    }

    pub(super) fn supersede_removal(&mut self, uid: &PodUid, outcomes: &mut Vec<Outcome>) {
        self.settle(
            uid,
            |awaited| awaited == Awaited::Removed,
            &Settlement::Superseded,
            outcomes,
        );
    }

    /// Tells a pod that is not known here as it is wanted now.
    pub(super) fn catch_up(&mut self, uid: &PodUid, generation: u64) {
        let is_told = self
            .told
            .get(uid)
            .is_some_and(|told| told.generation == generation);
        let is_in_flight = self
            .in_flight
            .as_ref()
            .is_some_and(|sent| sent.uid == *uid && sent.request == Sent::Add(generation));
        if !is_told && !is_in_flight {
            self.enqueue(uid);
        }
    }

    pub(super) fn next_in_snapshot(&mut self, wanted: &BTreeMap<PodUid, Wanted>) -> SnapshotStep {
        while let Some(uid) = self.snapshot.pop_front() {
            let Some(Wanted { generation, workload }) = wanted.get(&uid) else {
                continue;
            };
            let (request, step) = match workload {
                Some(workload) => (Sent::Add(*generation), SnapshotStep::Add(workload.clone())),
                None => (Sent::Keep(*generation), SnapshotStep::Keep(uid.clone())),
            };
            self.in_flight = Some(InFlight { uid, request });
            return step;
        }
        SnapshotStep::Done
    }

    pub(super) fn next_live(
        &mut self,
        wanted: &BTreeMap<PodUid, Wanted>,
        now: Instant,
        outcomes: &mut Vec<Outcome>,
    ) -> LiveStep {
        self.enqueue_due(now);
        while let Some(uid) = self.later.pop_front() {
            let (request, step) = match wanted.get(&uid) {
                Some(Wanted {
                    generation,
                    workload: Some(workload),
                }) => (Sent::Add(*generation), LiveStep::Add(workload.clone())),
                None if self.told.contains_key(&uid) => (Sent::Del, LiveStep::Del(uid.clone())),
                // Gone before it was told.
                None => {
                    self.settle(
                        &uid,
                        |awaited| awaited == Awaited::Removed,
                        &Settlement::Acked,
                        outcomes,
                    );
                    continue;
                }
                // ztunnel exits when told to keep a pod after the marker.
                Some(Wanted { workload: None, .. }) => continue,
            };
            self.in_flight = Some(InFlight { uid, request });
            return step;
        }
        LiveStep::Idle(self.retries().map(|(_, at)| at).min())
    }

    pub(super) fn answered(
        &mut self,
        id: ConnectionId,
        answer: Answer,
        now: Instant,
        backoff: Backoff,
        outcomes: &mut Vec<Outcome>,
    ) {
        let Some(InFlight { uid, request }) = self.in_flight.take() else {
            return;
        };
        let settlement = match answer {
            Answer::Ack => Settlement::Acked,
            Answer::Nack(error) => Settlement::Nacked(error),
        };
        self.settle(
            &uid,
            |awaited| awaited.is_settled_by(request),
            &settlement,
            outcomes,
        );
        match (request, settlement) {
            (Sent::Del, _) => {
                self.told.remove(&uid);
            }
            (Sent::Add(generation) | Sent::Keep(generation), Settlement::Nacked(error)) => {
                outcomes.push(Outcome::PodNacked(id, uid.clone(), error.clone()));
                let refusals = self.refusals(&uid, generation) + 1;
                let retry_at = matches!(request, Sent::Add(_)).then(|| now + backoff.after(refusals));
                let state = PodState::Nacked {
                    error,
                    refusals,
                    retry_at,
                };
                self.told.insert(uid, Told { generation, state });
            }
            (Sent::Add(generation), _) => {
                outcomes.push(Outcome::PodAcked(id, uid.clone()));
                self.told.insert(
                    uid,
                    Told {
                        generation,
                        state: PodState::Acked,
                    },
                );
            }
            (Sent::Keep(generation), _) => {
                self.told.insert(
                    uid,
                    Told {
                        generation,
                        state: PodState::Kept,
                    },
                );
            }
        }
    }

    pub(super) fn close(mut self, in_flight: &Settlement, outcomes: &mut Vec<Outcome>) {
        if let Some(InFlight { uid, request }) = self.in_flight.take() {
            self.settle(
                &uid,
                |awaited| awaited.is_settled_by(request),
                in_flight,
                outcomes,
            );
        }
        let waiting = self.waiting.drain(..);
        outcomes.extend(waiting.map(|left| Outcome::Settled(left.ticket, Settlement::Disconnected)));
    }

    fn enqueue(&mut self, uid: &PodUid) {
        if !self.snapshot.contains(uid) && !self.later.contains(uid) {
            self.later.push_back(uid.clone());
        }
    }

    fn enqueue_due(&mut self, now: Instant) {
        let due: Vec<PodUid> = self
            .retries()
            .filter(|(_, at)| *at <= now)
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in due {
            if let Some(Told {
                state: PodState::Nacked { retry_at, .. },
                ..
            }) = self.told.get_mut(&uid)
            {
                *retry_at = None;
            }
            self.enqueue(&uid);
        }
    }

    fn retries(&self) -> impl Iterator<Item = (&PodUid, Instant)> {
        self.told.iter().filter_map(|(uid, told)| match told.state {
            PodState::Nacked { retry_at, .. } => Some((uid, retry_at?)),
            PodState::Acked | PodState::Kept => None,
        })
    }

    fn refusals(&self, uid: &PodUid, generation: u64) -> u32 {
        match self.told.get(uid) {
            Some(Told {
                generation: same,
                state: PodState::Nacked { refusals, .. },
            }) if *same == generation => *refusals,
            _ => 0,
        }
    }

    fn settle(
        &mut self,
        uid: &PodUid,
        is_meant: impl Fn(Awaited) -> bool,
        settlement: &Settlement,
        outcomes: &mut Vec<Outcome>,
    ) {
        let settled = self
            .waiting
            .extract_if(.., |wait| wait.uid == *uid && is_meant(wait.awaited));
        outcomes.extend(settled.map(|wait| Outcome::Settled(wait.ticket, settlement.clone())));
    }
}
