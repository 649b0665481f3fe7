//! Why a connection or packet was treated as it was: the one table behind counters, metrics and `weir trace`.

/// What happened to the connection or packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It goes to ztunnel.
    Redirected,
    /// It goes where the application sent it, on purpose.
    Passed,
    /// It was stopped.
    Refused,
}

impl Verdict {
    /// The metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redirected => "redirected",
            Self::Passed => "passed",
            Self::Refused => "refused",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $value:literal, $verdict:ident, $name:literal;)+) => {
        /// Why; the discriminant is what the kernel side stores.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $value,)+
        }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it in metrics, traces and tables.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means, in a line for people.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// What happened.
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict,)+ }
            }

            /// The reason that the kernel side stored as `value`.
            #[must_use]
            pub const fn from_u32(value: u32) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// Outbound connection of an enrolled pod, handed to ztunnel's port 15001.
    Outbound = 0, Redirected, "outbound";
    /// Inbound plaintext connection to an enrolled pod, handed to ztunnel's port 15006.
    Inbound = 1, Redirected, "inbound";
}

/// How many reasons there are; the size of a per-pod table of counters.
pub const REASON_COUNT: usize = Reason::ALL.len();
