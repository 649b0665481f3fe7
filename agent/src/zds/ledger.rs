//! What is wanted, what each ztunnel was told, and what it has to be told next. Pure: no sockets, no clock.
mod link;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::protocol::Answer;
use super::workload::Workload;
use crate::pods::pod::PodUid;
pub use link::{Link, Stage};

/// A connection of a ztunnel; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ConnectionId(u64);

/// Stands for a caller who waits for a pod to be settled on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// How it ended for a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// ztunnel acknowledged, or there was nothing to tell it.
    Acked,
    /// ztunnel refused, in its words.
    Nacked(String),
    /// ztunnel did not answer in time.
    Deadline,
    /// The connection ended first.
    Disconnected,
    /// The opposite was asked for meanwhile.
    Superseded,
}

/// What callers and watchers have to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A ticket is settled.
    Settled(Ticket, Settlement),
    /// A ztunnel serves the pod.
    PodAcked(ConnectionId, PodUid),
    /// A ztunnel does not serve the pod, for this reason.
    PodNacked(ConnectionId, PodUid, String),
}

/// What to send before the snapshot marker.
#[derive(Clone, Debug)]
pub enum SnapshotStep {
    /// Announce the pod and hand over its netns.
    Add(Workload),
    /// Announce the pod without its netns.
    Keep(PodUid),
    /// Everything is announced.
    Done,
}

/// What to send after the snapshot marker.
#[derive(Clone, Debug)]
pub enum LiveStep {
    /// Serve the pod.
    Add(Workload),
    /// Stop serving the pod.
    Del(PodUid),
    /// Nothing, before this time if there is one.
    Idle(Option<Instant>),
}

/// A pod that ztunnel shall serve.
#[derive(Debug)]
pub struct Wanted {
    /// Grows whenever ztunnel has to hear of the pod anew.
    generation: u64,
    /// Missing while the netns is not known.
    workload: Option<Workload>,
}

impl Wanted {
    /// Whether the pod can be handed over, or only be kept.
    pub const fn is_netns_known(&self) -> bool {
        self.workload.is_some()
    }
}

/// When a refused pod is offered again: after `first`, then twice as long each time, up to `longest`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Backoff {
    fn after(self, refusals: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(refusals.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

/// The whole state of the server.
#[derive(Debug)]
pub struct Ledger {
    wanted: BTreeMap<PodUid, Wanted>,
    links: BTreeMap<ConnectionId, Link>,
    backoff: Backoff,
    outcomes: Vec<Outcome>,
    last_number: u64,
}

impl Ledger {
    /// Nothing wanted, nobody connected.
    pub const fn new(backoff: Backoff) -> Self {
        Self {
            wanted: BTreeMap::new(),
            links: BTreeMap::new(),
            backoff,
            outcomes: Vec::new(),
            last_number: 0,
        }
    }

    /// A pod is wanted. The ticket is for the newest ztunnel's answer; without a ztunnel there is none.
    pub fn add(&mut self, workload: Workload) -> Option<(ConnectionId, Ticket)> {
        let uid = workload.uid.clone();
        let generation = self.number();
        self.wanted.insert(
            uid.clone(),
            Wanted {
                generation,
                workload: Some(workload),
            },
        );
        for link in self.links.values_mut() {
            link.supersede_removal(&uid, &mut self.outcomes);
        }
        let ticket = Ticket(self.number());
        let (id, newest) = self.links.iter_mut().rfind(|(_, link)| link.is_greeted())?;
        newest.add(&uid, generation, ticket);
        Some((*id, ticket))
    }

    /// A pod is wanted whose netns is not known; a known one stays known.
    pub fn keep(&mut self, uid: PodUid) {
        let generation = self.number();
        for link in self.links.values_mut() {
            link.supersede_removal(&uid, &mut self.outcomes);
        }
        self.wanted.entry(uid).or_insert(Wanted {
            generation,
            workload: None,
        });
    }

    /// A pod is not wanted any more. One ticket per ztunnel.
    pub fn remove(&mut self, uid: &PodUid) -> Vec<(ConnectionId, Ticket)> {
        self.wanted.remove(uid);
        let mut tickets = Vec::new();
        for (id, link) in self.links.iter_mut().filter(|(_, link)| link.is_greeted()) {
            self.last_number += 1;
            let ticket = Ticket(self.last_number);
            link.remove(uid, ticket, &mut self.outcomes);
            tickets.push((*id, ticket));
        }
        tickets
    }

    /// Somebody connected.
    pub fn open(&mut self) -> ConnectionId {
        let id = ConnectionId(self.number());
        self.links.insert(id, Link::default());
        id
    }

    /// It said hello: everything wanted goes into its snapshot.
    pub fn greeted(&mut self, id: ConnectionId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.begin_snapshot(self.wanted.keys().cloned());
        }
    }

    /// What comes next in the snapshot.
    pub fn next_in_snapshot(&mut self, id: ConnectionId) -> SnapshotStep {
        self.links
            .get_mut(&id)
            .map_or(SnapshotStep::Done, |link| link.next_in_snapshot(&self.wanted))
    }

    /// The snapshot marker is acknowledged.
    pub fn live(&mut self, id: ConnectionId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.live();
        }
    }

    /// What comes next after the snapshot.
    pub fn next_live(&mut self, id: ConnectionId, now: Instant) -> LiveStep {
        let Some(link) = self.links.get_mut(&id) else {
            return LiveStep::Idle(None);
        };
        link.next_live(&self.wanted, now, &mut self.outcomes)
    }

    /// ztunnel answered the request in flight.
    pub fn answered(&mut self, id: ConnectionId, answer: Answer, now: Instant) {
        if let Some(link) = self.links.get_mut(&id) {
            link.answered(id, answer, now, self.backoff, &mut self.outcomes);
        }
    }

    /// The connection is over; `in_flight` is what that means to those who wait for the request in flight.
    pub fn close(&mut self, id: ConnectionId, in_flight: &Settlement) {
        let was_newest = self.newest() == Some(id);
        if let Some(link) = self.links.remove(&id) {
            link.close(in_flight, &mut self.outcomes);
        }
        if was_newest {
            self.promote();
        }
    }

    /// The older ztunnel that is the newest now has to hear what only its successor was told.
    fn promote(&mut self) {
        let Some(link) = self.links.values_mut().rfind(|link| link.is_greeted()) else {
            return;
        };
        for (uid, wanted) in self.wanted.iter().filter(|(_, wanted)| wanted.is_netns_known()) {
            link.catch_up(uid, wanted.generation);
        }
    }

    /// The ztunnel that is told of new pods.
    pub fn newest(&self) -> Option<ConnectionId> {
        self.links
            .iter()
            .rfind(|(_, link)| link.is_greeted())
            .map(|(id, _)| *id)
    }

    /// One connection's state.
    pub fn link(&self, id: ConnectionId) -> Option<&Link> {
        self.links.get(&id)
    }

    /// Every wanted pod.
    pub const fn wanted(&self) -> &BTreeMap<PodUid, Wanted> {
        &self.wanted
    }

    /// What happened since the last call.
    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    const fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

#[cfg(test)]
mod tests;
