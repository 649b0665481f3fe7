//! What is looked at: the one table behind problems, metrics and their help.

/// One thing that has to be right for a pod to be redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// The kernel side's entry.
    Entry,
    /// The kernel side's addresses.
    Addresses,
    /// Routing rules and routes.
    Routing,
    /// Settings of the netns.
    Sysctls,
    /// The look-up of listeners.
    Lookup,
    /// The guard at the ways out of the pod.
    Guard,
    /// The programs at interfaces behind which virtual machines are.
    Virtual,
    /// The node's programs.
    Programs,
    /// ztunnel's listeners.
    Listeners,
    /// The programs that redirect, at the node's ends of the pod's interfaces (node contract).
    Redirect,
    /// A ztunnel that takes connections in its own network namespace (node contract).
    Ztunnel,
    /// A connection out of the pod.
    Connection,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 12] = [
        Self::Entry,
        Self::Addresses,
        Self::Routing,
        Self::Sysctls,
        Self::Lookup,
        Self::Guard,
        Self::Virtual,
        Self::Programs,
        Self::Listeners,
        Self::Redirect,
        Self::Ztunnel,
        Self::Connection,
    ];

    /// The word for it in tables and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Addresses => "addresses",
            Self::Routing => "routing",
            Self::Sysctls => "sysctls",
            Self::Lookup => "lookup",
            Self::Guard => "guard",
            Self::Virtual => "virtual",
            Self::Programs => "programs",
            Self::Listeners => "listeners",
            Self::Redirect => "redirect",
            Self::Ztunnel => "ztunnel",
            Self::Connection => "connection",
        }
    }

    /// The check with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.name() == name)
    }

    /// Whether tending the pod again may put it right; the node's programs are loaded when the agent starts,
    /// and ztunnel comes by itself.
    #[must_use]
    pub const fn is_mendable(self) -> bool {
        !matches!(self, Self::Programs | Self::Ztunnel)
    }
}

/// Something is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub check: Check,
    /// In a sentence.
    pub detail: String,
}

impl Problem {
    /// A problem with `check`.
    pub fn new(check: Check, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { check, detail }
    }

    /// The facts could not be read.
    pub(super) fn unreadable(error: &dyn std::fmt::Display) -> Self {
        Self::new(Check::Entry, format!("the pod cannot be looked at: {error}"))
    }
}
