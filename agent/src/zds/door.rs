//! What a ztunnel passes before it is told of pods.
use tokio::sync::watch;

use super::ledger::ConnectionId;
use super::socket::Peer;

/// Notes who is told of pods: before the first message, so that nothing a ztunnel does about a pod comes as a surprise.
pub trait Doorkeeper: Send + Sync {
    /// A ztunnel said hello; it is told of pods as soon as this returns.
    fn entered(&self, connection: ConnectionId, peer: Peer);
    /// Its connection is over.
    fn left(&self, connection: ConnectionId);
}

/// Closed until it is known which pods there are: a ztunnel drops every pod that it is not told of at once.
pub struct Door {
    open: watch::Sender<bool>,
    keeper: Box<dyn Doorkeeper>,
}

impl Door {
    /// A closed door.
    pub fn new(keeper: impl Doorkeeper + 'static) -> Self {
        Self {
            open: watch::Sender::new(false),
            keeper: Box::new(keeper),
        }
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn opened(&self) {
        // It cannot be closed: the sender is borrowed.
        drop(self.open.subscribe().wait_for(|open| *open).await);
    }

    /// Who stands there.
    pub fn keeper(&self) -> &dyn Doorkeeper {
        self.keeper.as_ref()
    }
}
