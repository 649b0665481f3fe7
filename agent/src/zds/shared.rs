//! The state that callers and connections share, and who is told when it changes.
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::{broadcast, oneshot, watch};

use super::acks::Acks;
use super::door::Doorkeeper;
use super::ledger::{
    Backoff, ConnectionId, Ledger, Link, LiveStep, Outcome, Settlement, SnapshotStep, Ticket, Wanted,
};
use super::protocol::Answer;
use super::session::SessionError;
use super::socket::Peer;
use super::status::{ConnectionStatus, PodStatus, ZdsEvent, ZdsStatus};
use super::workload::Workload;
use crate::pods::pod::PodUid;

/// Events a slow listener may fall behind before it loses some.
const EVENT_BUFFER: usize = 1024;

/// A caller's end of one answer.
pub struct Pending {
    /// Whose answer it is.
    pub connection: ConnectionId,
    /// At the other end of that connection.
    pub peer: Peer,
    /// The answer.
    pub settlement: oneshot::Receiver<Settlement>,
}

/// Shared by the handle and all connections.
pub struct Shared {
    keeper: Box<dyn Doorkeeper>,
    state: Mutex<State>,
    events: broadcast::Sender<ZdsEvent>,
    acks: Acks,
    changed: watch::Sender<()>,
}

struct State {
    ledger: Ledger,
    about: BTreeMap<ConnectionId, About>,
    callers: HashMap<Ticket, oneshot::Sender<Settlement>>,
    last_disconnect: Option<String>,
}

struct About {
    peer: Peer,
    since: SystemTime,
    last_error: Option<String>,
}

impl Shared {
    /// Nothing wanted, nobody connected.
    pub fn new(backoff: Backoff, keeper: Box<dyn Doorkeeper>) -> Self {
        let state = State {
            ledger: Ledger::new(backoff),
            about: BTreeMap::new(),
            callers: HashMap::new(),
            last_disconnect: None,
        };
        let (events, _none_yet) = broadcast::channel(EVENT_BUFFER);
        Self {
            keeper,
            state: Mutex::new(state),
            events,
            acks: Acks::default(),
            changed: watch::Sender::new(()),
        }
    }
    /// Wakes whenever there may be something new to send.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Everything that happens from now on.
    pub fn events(&self) -> broadcast::Receiver<ZdsEvent> {
        self.events.subscribe()
    }

    /// See [`Acks::of`].
    pub fn acks(&self, uid: &PodUid) -> watch::Receiver<Option<ConnectionId>> {
        self.acks.of(uid)
    }

    /// See [`Ledger::add`].
    pub fn add(&self, workload: Workload) -> Option<Pending> {
        self.change(|state| {
            let (id, ticket) = state.ledger.add(workload)?;
            state.wait_for(id, ticket)
        })
    }

    /// See [`Ledger::keep`].
    pub fn keep(&self, uid: PodUid) {
        self.change(|state| state.ledger.keep(uid));
    }

    /// See [`Ledger::remove`].
    pub fn remove(&self, uid: &PodUid) -> Vec<Pending> {
        self.change(|state| {
            let tickets = state.ledger.remove(uid);
            tickets
                .into_iter()
                .filter_map(|(id, ticket)| state.wait_for(id, ticket))
                .collect()
        })
    }

    /// Somebody connected.
    pub fn open(&self, peer: Peer) -> ConnectionId {
        self.update(|state, _| {
            let id = state.ledger.open();
            state.about.insert(
                id,
                About {
                    peer,
                    since: SystemTime::now(),
                    last_error: None,
                },
            );
            id
        })
    }

    /// See [`Ledger::greeted`].
    pub fn greeted(&self, connection: ConnectionId, peer: Peer) {
        self.keeper.entered(connection, peer);
        self.update(|state, events| {
            state.ledger.greeted(connection);
            events.push(ZdsEvent::Connected { connection, peer });
        });
    }

    /// See [`Ledger::next_in_snapshot`].
    pub fn next_in_snapshot(&self, id: ConnectionId) -> SnapshotStep {
        self.update(|state, _| state.ledger.next_in_snapshot(id))
    }

    /// See [`Ledger::live`].
    pub fn live(&self, connection: ConnectionId) {
        self.update(|state, events| {
            state.ledger.live(connection);
            events.push(ZdsEvent::Live { connection });
        });
    }

    /// See [`Ledger::next_live`].
    pub fn next_live(&self, id: ConnectionId) -> LiveStep {
        self.update(|state, _| state.ledger.next_live(id, Instant::now()))
    }

    /// See [`Ledger::answered`].
    pub fn answered(&self, id: ConnectionId, answer: Answer) {
        self.update(|state, _| {
            if let (Answer::Nack(error), Some(about)) = (&answer, state.about.get_mut(&id)) {
                about.last_error = Some(error.clone());
            }
            state.ledger.answered(id, answer, Instant::now());
        });
    }

    /// The connection is over.
    pub fn close(&self, connection: ConnectionId, error: &SessionError) {
        let in_flight = match error {
            SessionError::AckDeadline { .. } => Settlement::Deadline,
            _ => Settlement::Disconnected,
        };
        self.update(|state, events| {
            let was_greeted = state.ledger.link(connection).is_some_and(Link::is_greeted);
            state.ledger.close(connection, &in_flight);
            let Some(About { peer, .. }) = state.about.remove(&connection) else {
                return;
            };
            let error = error.to_string();
            state.last_disconnect = Some(error.clone());
            events.push(match was_greeted {
                true => ZdsEvent::Disconnected { connection, error },
                false => ZdsEvent::Refused { peer, error },
            });
        });
        self.keeper.left(connection);
        // The connection that is the newest now may have to catch up.
        self.changed.send_replace(());
    }

    /// Whether anybody is connected.
    pub fn is_connected(&self) -> bool {
        self.update(|state, _| !state.about.is_empty())
    }

    /// What an operator sees.
    pub fn status(&self) -> ZdsStatus {
        self.update(|state, _| state.status())
    }

    /// A change that connections have to look at.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = self.update(|state, _| change(state));
        self.changed.send_replace(());
        result
    }

    /// Runs `update` alone, then tells callers and listeners, in the order in which it happened.
    fn update<T>(&self, update: impl FnOnce(&mut State, &mut Vec<ZdsEvent>) -> T) -> T {
        // No update leaves the state half done, so a panic elsewhere is no reason to stop.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events = Vec::new();
        let result = update(&mut state, &mut events);
        state.settle_callers(&mut events);
        for event in events {
            if let ZdsEvent::PodAcked { connection, uid } = &event {
                self.acks.tell(uid, *connection);
            }
            // Without listeners there is nobody to tell.
            drop(self.events.send(event));
        }
        result
    }
}

impl State {
    fn wait_for(&mut self, connection: ConnectionId, ticket: Ticket) -> Option<Pending> {
        let peer = self.about.get(&connection)?.peer;
        let (sender, settlement) = oneshot::channel();
        self.callers.insert(ticket, sender);
        Some(Pending {
            connection,
            peer,
            settlement,
        })
    }

    fn settle_callers(&mut self, events: &mut Vec<ZdsEvent>) {
        for outcome in self.ledger.take_outcomes() {
            match outcome {
                Outcome::PodAcked(connection, uid) => events.push(ZdsEvent::PodAcked { connection, uid }),
                Outcome::PodNacked(connection, uid, error) => {
                    events.push(ZdsEvent::PodNacked {
                        connection,
                        uid,
                        error,
                    });
                }
                Outcome::Settled(ticket, settlement) => {
                    if let Some(caller) = self.callers.remove(&ticket) {
                        // A caller who gave up does not want to know.
                        drop(caller.send(settlement));
                    }
                }
            }
        }
    }

    fn status(&self) -> ZdsStatus {
        let newest = self.ledger.newest();
        ZdsStatus {
            connections: self
                .about
                .iter()
                .filter_map(|(id, about)| self.connection(*id, about))
                .collect(),
            pods: self
                .ledger
                .wanted()
                .keys()
                .map(|uid| (uid.clone(), self.pod(uid, newest)))
                .collect(),
            last_disconnect: self.last_disconnect.clone(),
        }
    }

    fn connection(&self, id: ConnectionId, about: &About) -> Option<ConnectionStatus> {
        let link = self.ledger.link(id)?;
        Some(ConnectionStatus {
            id,
            peer: about.peer,
            since: about.since,
            state: link.stage().into(),
            newest: self.ledger.newest() == Some(id),
            acked: link.acked(),
            pending: link.pending(),
            last_error: about.last_error.clone(),
        })
    }

    fn pod(&self, uid: &PodUid, newest: Option<ConnectionId>) -> PodStatus {
        let wanted = self.ledger.wanted().get(uid);
        let link = newest.and_then(|id| self.ledger.link(id));
        PodStatus {
            netns_known: wanted.is_some_and(Wanted::is_netns_known),
            acked: link
                .zip(wanted)
                .is_some_and(|(link, wanted)| link.has_acked(uid, wanted)),
            nack: link.and_then(|link| link.nack(uid)).map(str::to_owned),
        }
    }
}
