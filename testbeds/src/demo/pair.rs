//! Who connects to whom, and which way it must go.

use super::ContractName;
use super::cast::{self, MACVLAN_A, MACVLAN_B, NODE, OUTSIDE, REMOTE, VETH_A, VETH_B};

/// A client, a server, and what is right between them.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) expected: Way,
}

/// Which way a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Through the proxy, and by tunnel to the other pod.
    Hbone,
    /// Through the proxy, in clear on the wire.
    Plaintext,
    /// Past the proxy.
    Bypass,
    /// Through something that is not the proxy as far as the proxy knows.
    Unknown,
    /// Some connections through the proxy and some past it.
    Mixed,
}

impl Way {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hbone => "HBONE",
            Self::Plaintext => "plaintext",
            Self::Bypass => "bypass",
            Self::Unknown => "not by the proxy",
            Self::Mixed => "not always",
        }
    }

    pub(super) const fn is_captured(self) -> bool {
        matches!(self, Self::Hbone | Self::Plaintext)
    }
}

/// Every pair that can talk without Weir. A macvlan pod and the node it is on cannot, nor can what is behind the node.
pub(super) const PAIRS: &[Pair] = &[
    pair(VETH_A, VETH_B, Way::Hbone),
    pair(MACVLAN_A, MACVLAN_B, Way::Hbone),
    pair(VETH_A, REMOTE, Way::Plaintext),
    pair(MACVLAN_A, REMOTE, Way::Plaintext),
    pair(VETH_A, OUTSIDE, Way::Plaintext),
    pair(REMOTE, VETH_B, Way::Plaintext),
    pair(REMOTE, MACVLAN_B, Way::Plaintext),
    pair(OUTSIDE, VETH_B, Way::Plaintext),
    // A probe, as kubelet makes it.
    pair(NODE, VETH_B, Way::Bypass),
    // Neither side is in the mesh.
    pair(OUTSIDE, REMOTE, Way::Bypass),
];

/// The pairs of which both are there.
pub(super) fn of(contract: ContractName) -> Vec<&'static Pair> {
    let is_there = |name| cast::all(contract).contains(&name);
    let pairs = PAIRS.iter();
    pairs
        .filter(|pair| is_there(pair.from) && is_there(pair.to))
        .collect()
}

const fn pair(from: &'static str, to: &'static str, expected: Way) -> Pair {
    Pair { from, to, expected }
}
