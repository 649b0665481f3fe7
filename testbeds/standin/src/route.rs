//! What to do with a connection, decided from addresses alone.

use std::net::{IpAddr, SocketAddr};

use crate::mesh::Peer;

/// Outbound capture.
pub const OUTBOUND_PORT: u16 = 15001;
/// Inbound plaintext capture.
pub const INBOUND_PORT: u16 = 15006;
/// Tunnels from other proxies.
pub const HBONE_PORT: u16 = 15008;
/// DNS capture, on loopback.
pub const DNS_PORT: u16 = 15053;

/// Where the proxy connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the destination itself, in plain TCP.
    Direct(SocketAddr),
    /// To the destination's proxy, by tunnel.
    Tunnel(SocketAddr),
}

/// Why the proxy does not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The destination is one of the proxy's own ports: the connection would come back.
    #[error("self call to {0}")]
    SelfCall(SocketAddr),
    /// Nobody here has this address (node contract).
    #[error("unknown source {0}")]
    UnknownSource(IpAddr),
    /// A tunnel came to another address than the one it asks for.
    #[error("ip mismatch: tunnel to {accepted} asks for {asked}")]
    IpMismatch {
        /// Where the tunnel was accepted.
        accepted: IpAddr,
        /// What it asks for.
        asked: IpAddr,
    },
}

/// How connections between two pods of one node travel (node contract).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameNode {
    /// Straight from one to the other.
    Straight,
    /// By a tunnel of the proxy to itself, which the redirector turns back.
    Hairpin,
}

/// Decides about a connection that the outbound listener took.
pub fn outbound(
    source: IpAddr,
    destination: SocketAddr,
    peer: Peer,
    same_node: SameNode,
) -> Result<Route, Denial> {
    let tunnel = Route::Tunnel(SocketAddr::new(destination.ip(), HBONE_PORT));
    // Another proxy's port is that proxy's to refuse.
    let returns = destination.ip().is_loopback() || destination.ip() == source || peer == Peer::Local;
    match (peer, same_node) {
        _ if returns && is_proxy_port(destination.port()) => Err(Denial::SelfCall(destination)),
        (Peer::Hbone, _) | (Peer::Local, SameNode::Hairpin) => Ok(tunnel),
        (Peer::Tcp, _) | (Peer::Local, SameNode::Straight) => Ok(Route::Direct(destination)),
    }
}

/// Decides about a connection that the inbound plaintext listener took.
pub fn inbound(destination: SocketAddr) -> Result<Route, Denial> {
    if is_proxy_port(destination.port()) {
        return Err(Denial::SelfCall(destination));
    }
    Ok(Route::Direct(destination))
}

/// Decides about a tunnel that was accepted at `accepted` and asks for `asked`.
pub fn tunnel(accepted: IpAddr, asked: SocketAddr) -> Result<Route, Denial> {
    if accepted != asked.ip() {
        return Err(Denial::IpMismatch {
            accepted,
            asked: asked.ip(),
        });
    }
    inbound(asked)
}

fn is_proxy_port(port: u16) -> bool {
    matches!(port, OUTBOUND_PORT | INBOUND_PORT | HBONE_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "10.0.0.1";

    fn out(destination: &str, peer: Peer, same_node: SameNode) -> Result<Route, Denial> {
        outbound(
            POD.parse().unwrap(),
            destination.parse().unwrap(),
            peer,
            same_node,
        )
    }

    #[test]
    fn outbound_goes_by_what_the_peer_is() {
        let direct = Ok(Route::Direct("10.0.0.2:80".parse().unwrap()));
        let tunnel = Ok(Route::Tunnel("10.0.0.2:15008".parse().unwrap()));
        let table = [
            (Peer::Tcp, SameNode::Straight, direct),
            (Peer::Tcp, SameNode::Hairpin, direct),
            (Peer::Hbone, SameNode::Straight, tunnel),
            (Peer::Local, SameNode::Straight, direct),
            (Peer::Local, SameNode::Hairpin, tunnel),
        ];
        for (peer, same_node, route) in table {
            assert_eq!(
                out("10.0.0.2:80", peer, same_node),
                route,
                "{peer:?} {same_node:?}"
            );
        }
    }

    #[test]
    fn connections_that_would_come_back_are_denied() {
        let straight = SameNode::Straight;
        for looping in ["127.0.0.1:15001", "[::1]:15006", "10.0.0.1:15001"] {
            assert_eq!(
                out(looping, Peer::Tcp, straight),
                Err(Denial::SelfCall(looping.parse().unwrap()))
            );
        }
        assert!(out("10.0.0.2:15008", Peer::Local, straight).is_err());
        assert!(
            out("10.0.0.2:15008", Peer::Hbone, straight).is_ok(),
            "the other proxy refuses it"
        );
        assert!(
            out("192.0.2.1:15008", Peer::Tcp, straight).is_ok(),
            "a stranger's port means nothing"
        );
        assert!(inbound("10.0.0.1:15006".parse().unwrap()).is_err());
        assert!(inbound("10.0.0.1:80".parse().unwrap()).is_ok());
    }

    #[test]
    fn tunnels_end_only_where_they_were_accepted() {
        let (here, there) = (POD.parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert!(tunnel(here, "10.0.0.1:80".parse().unwrap()).is_ok());
        assert_eq!(
            tunnel(here, "10.0.0.2:80".parse().unwrap()),
            Err(Denial::IpMismatch {
                accepted: here,
                asked: there
            })
        );
        assert!(tunnel(here, "10.0.0.1:15008".parse().unwrap()).is_err());
    }
}
