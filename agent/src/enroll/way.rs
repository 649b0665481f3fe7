//! How a pod's connections get to ztunnel, to be told.

use weir_netdetect::choose::{Path, Plan};

/// The way by a pod's first interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The interface.
    pub interface: String,
    /// The path of what the pod opens.
    pub outbound: Path,
    /// The path of what comes to it.
    pub inbound: Path,
    /// Why the pod's own connections take that path.
    pub why: String,
}

impl Way {
    /// As planned; nothing for a pod without an interface that leads out.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Self> {
        let mut planned = plan.interfaces.iter();
        let first = planned.find(|planned| Some(planned.index) == plan.primary)?;
        Some(Self {
            interface: first.name.clone(),
            outbound: first.outbound.path,
            inbound: first.inbound.path,
            why: first.outbound.why.to_string(),
        })
    }
}
