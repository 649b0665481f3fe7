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
    /// Weir could not do what it should have.
    Failed,
}

impl Verdict {
    /// The metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redirected => "redirected",
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Failed => "failed",
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
    /// An enrolled pod's connection, handed to ztunnel's port 15001.
    Outbound = 0, Redirected, "outbound";
    /// A plaintext connection to an enrolled pod, handed to ztunnel's port 15006.
    Inbound = 1, Redirected, "inbound";
    /// A DNS query over UDP, handed to ztunnel's port 15053.
    DnsUdp = 2, Redirected, "dns_udp";
    /// A DNS connection over TCP, handed to ztunnel's port 15053.
    DnsTcp = 3, Redirected, "dns_tcp";
    /// Another ztunnel's tunnel to an enrolled pod, handed to ztunnel's port 15008 (node contract).
    Tunnel = 4, Redirected, "tunnel";
    /// ztunnel's tunnel between two pods of this node, turned back to ztunnel (node contract).
    Hairpin = 5, Redirected, "hairpin";
    /// The connection of a pod without a host side, turned to ztunnel's address.
    Detoured = 8, Redirected, "detoured";

    /// ztunnel's own connection to the world.
    FromZtunnel = 16, Passed, "from_ztunnel";
    /// ztunnel's connection to the application, from the client's address.
    ToApplication = 17, Passed, "to_application";
    /// A connection to the pod's HBONE port, which is ztunnel's already.
    Hbone = 18, Passed, "hbone";
    /// The pod's connection to one of its own addresses.
    OwnAddress = 19, Passed, "own_address";
    /// The pod's connection to loopback.
    Loopback = 20, Passed, "loopback";
    /// The pod's connection to an IPv6 link-local address, which cannot be routed.
    LinkLocal = 21, Passed, "link_local";
    /// The pod's annotations exclude the port.
    ExcludedPort = 22, Passed, "excluded_port";
    /// The pod's annotations exclude the address.
    ExcludedRange = 23, Passed, "excluded_range";
    /// The pod's annotations ask for uncaptured inbound connections.
    InboundBypass = 24, Passed, "inbound_bypass";
    /// A process of the node probes the pod.
    Probe = 25, Passed, "probe";
    /// The pod's connection to ztunnel's own address (node contract).
    ToZtunnel = 26, Passed, "to_ztunnel";
    /// There is no ztunnel, and the configuration lets connections go on without it (node contract).
    FailOpen = 27, Passed, "fail_open";
    /// ztunnel's own connection for a pod without a host side, made from ztunnel's address.
    ZtunnelSource = 28, Passed, "ztunnel_source";

    /// The pod dialled a port of its own that only ztunnel serves.
    ZtunnelPort = 32, Refused, "ztunnel_port";
    /// ztunnel does not listen in the pod: the connection waits for it and is never let through.
    NoListener = 33, Refused, "no_listener";
    /// The socket is bound to a device, and the binding could not be undone, or not in time for its first DNS query.
    BoundDevice = 34, Refused, "bound_device";
    /// The kernel refused to mark the socket.
    MarkRefused = 35, Refused, "mark_refused";
    /// The guard saw a TCP connection leave the pod that had not gone through ztunnel.
    Leaked = 36, Refused, "leaked";
    /// A captured connection was about to leave the pod: its rule is gone, or its socket was bound to a device since.
    Unrouted = 37, Refused, "unrouted";
    /// A connection to an address of the pod that is not known as its own, or not yet.
    UnknownAddress = 38, Refused, "unknown_address";
    /// There is no ztunnel to hand the connection to (node contract).
    NoZtunnel = 39, Refused, "no_ztunnel";
    /// A pod sent from an address that is not its own (node contract).
    ForeignSource = 40, Refused, "foreign_source";
    /// A frame that looks redirected came by a way that Weir does not redirect by (node contract).
    ForgedTag = 41, Refused, "forged_tag";
    /// A fragment of a TCP packet: which connection it belongs to cannot be told (node contract).
    Fragment = 42, Refused, "fragment";
    /// ztunnel has no address of the connection's family that the pod could reach.
    NoDetour = 44, Refused, "no_detour";
    /// The kernel had no memory to remember where the connection was going.
    Unnoted = 45, Refused, "unnoted";
    /// The connection was made past the hook that turns it to ztunnel, and never left the pod.
    Undetoured = 46, Refused, "undetoured";
    /// A frame for ztunnel was about to leave the node, because ztunnel's own interface is down or gone.
    Fenced = 47, Refused, "fenced";

    /// The map of passes is full: a probe or ztunnel's connection may be captured.
    PassesFull = 48, Failed, "passes_full";
    /// The map of listeners is full: a ztunnel listener could not be noted.
    ListenersFull = 49, Failed, "listeners_full";
    /// The kernel refused to let the application's port be bound again while captured connections hold it.
    ReuseRefused = 50, Failed, "reuse_refused";
    /// The client took a port under which ztunnel speaks for it, and the kernel refused to tell the two apart.
    PortTaken = 51, Failed, "port_taken";
    /// No port for ztunnel's connection to the application was found free: the kernel has chosen one.
    PortUnclaimed = 52, Failed, "port_unclaimed";
    /// ztunnel accepted a pod's connection of which nobody remembers where it was going; ztunnel refuses it.
    OriginalUnknown = 56, Failed, "original_unknown";
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;

    use super::Reason;

    #[test]
    fn the_table_has_each_name_and_number_once() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_u32(reason as u32), Some(reason));
            assert!(
                reason
                    .name()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
            assert!(
                reason.help().ends_with('.'),
                "{}: the help is a sentence",
                reason.name()
            );
        }
        assert_eq!(Reason::from_u32(u32::MAX), None);
    }
}
