//! What can be done for a pod.

use std::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{Caution, Contract, Remedy, Why};
use crate::facts::Kind;

/// The way by which connections get to ztunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// At the sockets. With the in-pod contract the connect hook marks and the look-up of listeners delivers; with the
    /// node contract connections are made to ztunnel in the first place, and its own sources are rewritten.
    Socket,
    /// By programs at the interface: at its peer on the node, or at the interface behind which virtual machines are.
    Tc,
    /// By programs in the pod that send frames to ztunnel's Ethernet address.
    Steer,
    /// None: connections of this direction are not captured.
    NotCaptured,
    /// Weir does not know this wiring, and does not try.
    Unknown,
    /// There is nothing to capture in this direction.
    NotApplicable,
}

/// The path of one direction, and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The path.
    pub path: Path,
    /// Why this one.
    pub why: Why,
    /// What would make possible what is not, or what has to be for this to work.
    pub remedy: Option<Remedy>,
}

/// Why an interface has a plan of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The pod reaches others by it.
    Outward,
    /// Virtual machines are behind it.
    Virtual,
}

/// The plan for one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfacePlan {
    /// Its index in the pod.
    pub index: u32,
    /// Its name in the pod.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Why it has a plan.
    pub role: Role,
    /// Connections that leave by it.
    pub outbound: Leg,
    /// Connections that come by it.
    pub inbound: Leg,
}

/// The plan for a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The contract that it is for.
    pub contract: Contract,
    /// Index of the pod's first interface.
    pub primary: Option<u32>,
    /// Connections that leave by the pod's first interface; without one, why there are none.
    pub outbound: Leg,
    /// Connections that come by it.
    pub inbound: Leg,
    /// All interfaces that matter, by index.
    pub interfaces: Vec<InterfacePlan>,
    /// What is odd, and may get in the way.
    pub cautions: Vec<Caution>,
}

impl Path {
    /// Its name, as in `weir status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Tc => "tc",
            Self::Steer => "steer",
            Self::NotCaptured => "not captured",
            Self::Unknown => "unknown",
            Self::NotApplicable => "n/a",
        }
    }

    /// Whether connections get to ztunnel, or there are none that should.
    #[must_use]
    pub const fn captures(self) -> bool {
        match self {
            Self::Socket | Self::Tc | Self::Steer | Self::NotApplicable => true,
            Self::NotCaptured | Self::Unknown => false,
        }
    }
}

impl Leg {
    pub(super) const fn new(path: Path, why: Why) -> Self {
        Self {
            path,
            why,
            remedy: None,
        }
    }

    pub(super) const fn with(path: Path, why: Why, remedy: Remedy) -> Self {
        Self {
            path,
            why,
            remedy: Some(remedy),
        }
    }
}

impl Plan {
    /// Whether all connections of all interfaces get to ztunnel.
    #[must_use]
    pub fn captures_all(&self) -> bool {
        let legs = self
            .interfaces
            .iter()
            .flat_map(|plan| [&plan.outbound, &plan.inbound]);
        [&self.outbound, &self.inbound]
            .into_iter()
            .chain(legs)
            .all(|leg| leg.path.captures())
    }

    /// Whether some connections of some interface get to ztunnel.
    #[must_use]
    pub fn captures_any(&self) -> bool {
        let legs = self
            .interfaces
            .iter()
            .flat_map(|plan| [&plan.outbound, &plan.inbound]);
        legs.into_iter().any(|leg| leg.path.captures())
    }

    /// The plan for the interface of this name.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<&InterfacePlan> {
        self.interfaces.iter().find(|plan| plan.name == name)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Leg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut leg = serializer.serialize_struct("Leg", 4)?;
        leg.serialize_field("path", &self.path)?;
        leg.serialize_field("reason", self.why.word())?;
        leg.serialize_field("why", &self.why.to_string())?;
        leg.serialize_field(
            "what_would_make_it_work",
            &self.remedy.as_ref().map(ToString::to_string),
        )?;
        leg.end()
    }
}
