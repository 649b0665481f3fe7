//! Programs at interfaces.

use std::fmt;

use serde::{Deserialize, Serialize};
use weir_common::names::OWNER_PREFIX;

/// A program at an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Index of the interface.
    pub interface: u32,
    /// Which packets it sees.
    pub direction: Direction,
    /// By what it is attached.
    pub hook: Hook,
    /// Its place: with TCX the position, with clsact the priority of its filter. Smaller ones come first.
    pub order: u32,
    /// The kernel's number for it, if it is eBPF.
    pub id: Option<u32>,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
}

/// Which packets a program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Those that arrive at the interface.
    Ingress,
    /// Those that leave by it.
    Egress,
}

/// By what a program is attached, in the order in which arriving packets meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// The driver or the generic one behind it.
    Xdp,
    /// Links (6.6).
    Tcx,
    /// A filter of a clsact qdisc.
    Clsact,
}

/// Whose a program is, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// Weir.
    Weir,
    /// Calico.
    Calico,
    /// Cilium.
    Cilium,
    /// AWS's network policy agent.
    Aws,
    /// Somebody else.
    Other,
}

/// How names of programs begin.
const NAMES: [(&str, Owner); 6] = [
    (OWNER_PREFIX, Owner::Weir),
    ("cali", Owner::Calico),
    ("calico", Owner::Calico),
    ("cil_", Owner::Cilium),
    ("tail_", Owner::Cilium),
    ("handle_ingress", Owner::Aws),
];

impl Owner {
    /// Whose a program of this name is.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let known = NAMES.iter().find(|(prefix, _)| name.starts_with(prefix));
        known.map_or(Self::Other, |(_, owner)| *owner)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xdp => "xdp",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}
