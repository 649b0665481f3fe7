//! What a ztunnel passes before it is told of pods.
use super::ledger::ConnectionId;
use super::socket::Peer;

/// Notes who is told of pods: before the first message, so that nothing a ztunnel does about a pod comes as a surprise.
pub trait Doorkeeper: Send + Sync {
    /// A ztunnel said hello; it is told of pods as soon as this returns.
    fn entered(&self, connection: ConnectionId, peer: Peer);
    /// Its connection is over.
    fn left(&self, connection: ConnectionId);
}

/// Nobody stands there.
impl Doorkeeper for () {
    fn entered(&self, _: ConnectionId, _: Peer) {}
    fn left(&self, _: ConnectionId) {}
}
