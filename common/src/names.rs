//! Names of programs, maps and pins: one word per thing, from source file to metric label.

/// Version of the shared structs' layout. Of the maps of another version those of [`map::HANDED_ON`] are used, and
/// what all versions have in common: [`crate::pod::PodEntry::HEAD`], [`crate::node::NodeSettings::HEAD`].
pub const LAYOUT_VERSION: u32 = 3;

/// Prefix of every kernel object that belongs to Weir; what lacks it is never touched.
pub const OWNER_PREFIX: &str = "weir_";

/// Where the pins live on a bpffs.
pub const PIN_ROOT: &str = "/sys/fs/bpf/weir";

/// Maps, by the names of their statics in the eBPF crates.
pub mod map {
    /// Node settings: an array of one.
    pub const NODE: &str = "weir_node";
    /// Enrolled pods by netns cookie.
    pub const PODS: &str = "weir_pods";
    /// Addresses of enrolled pods, per pod.
    pub const OWN_ADDRESSES: &str = "weir_own";
    /// Which pod has an address, as seen from the node.
    pub const PODS_BY_ADDRESS: &str = "weir_by_address";
    /// ztunnel's listening sockets.
    pub const LISTENERS: &str = "weir_listeners";
    /// The newest listener's slot, per port.
    pub const NEWEST: &str = "weir_newest";
    /// Cgroups in which ztunnel's mark is believed.
    pub const ZTUNNELS: &str = "weir_ztunnels";
    /// Connections that may reach the application uncaptured.
    pub const PASSES: &str = "weir_passes";
    /// Client ports in use: an array of seats.
    pub const CLAIMS: &str = "weir_claims";
    /// Where the search for a free client port goes on: an array.
    pub const CURSORS: &str = "weir_port_turns";
    /// By which interface clients ask whose port ztunnel may be given as well.
    pub const ASKERS: &str = "weir_askers";
    /// Ports on which something in a pod has ever listened: an array.
    pub const LISTENED: &str = "weir_listened";
    /// Ports that annotations include or exclude.
    pub const PORT_RULES: &str = "weir_port_rules";
    /// Ranges that annotations include or exclude.
    pub const RANGE_RULES: &str = "weir_ranges";
    /// Interfaces of pods behind which virtual machines are.
    pub const VIRTUAL_INTERFACES: &str = "weir_virtual_if";
    /// What a socket has to be remembered for.
    pub const NOTES: &str = "weir_notes";
    /// Where the connection was meant to go that a CPU is just making.
    pub const MAKING: &str = "weir_making";
    /// Decisions per pod and reason.
    pub const COUNTERS: &str = "weir_counters";
    /// Decisions, one by one, while somebody listens.
    pub const EVENTS: &str = "weir_events";
    /// Decisions that the ring of events had no room for, since the last that it took.
    pub const UNTOLD: &str = "weir_untold";

    /// Where pods without a host side reach ztunnel.
    pub const DETOURS: &str = "weir_detours";
    /// Where connections on their way to ztunnel were going.
    pub const ORIGINALS: &str = "weir_originals";

    /// Those that are there only while some pod's connections make a detour.
    pub const OF_DETOURS: [&str; 2] = [DETOURS, ORIGINALS];

    /// Pods of the node contract, by address.
    pub const LOCAL_PODS: &str = "weir_local_pods";
    /// Which pod an interface of the host leads to (node contract).
    pub const HOST_INTERFACES: &str = "weir_host_if";
    /// What was decided for connections that are open (node contract).
    pub const FLOWS: &str = "weir_flows";
    /// Between which addresses something may be remembered of connections (node contract).
    pub const PAIRS: &str = "weir_pairs";
    /// The time by which that is told (node contract): an array of one.
    pub const PAIR_TIME: &str = "weir_pair_time";
    /// Where ztunnels are (node contract).
    pub const PLACES: &str = "weir_places";
    /// The era: another one begins when a pod or an address changes that connections are checked by (node contract).
    pub const ERA: &str = "weir_era";
    /// What each CPU has lately found out of connections (node contract).
    pub const RECENT: &str = "weir_recent";
    /// What each CPU has lately found out of addresses (node contract).
    pub const NEAR: &str = "weir_near";
    /// Which pods each CPU has lately found behind interfaces (node contract).
    pub const BEHIND: &str = "weir_behind";
    /// How often something was decided: until then CPUs go by what they have found out (node contract).
    pub const TURNS: &str = "weir_turns";
    /// Connections that ztunnels were lately seen to have: an array of words.
    pub const KNOWN: &str = "weir_known";
    /// Listeners of ztunnels that were found (node contract).
    pub const FOUND: &str = "weir_found";
    /// Settings of the node contract: an array of one.
    pub const CONTRACT: &str = "weir_contract";

    /// Those that are there only while ztunnel has a netns of its own.
    pub const OF_REDIRECT: [&str; 14] = [
        LOCAL_PODS,
        HOST_INTERFACES,
        FLOWS,
        PAIRS,
        PAIR_TIME,
        ERA,
        PLACES,
        CONTRACT,
        RECENT,
        NEAR,
        BEHIND,
        TURNS,
        KNOWN,
        FOUND,
    ];

    /// Those that one layout hands on to another, as what they hold cannot be found out anew: who listens, what sockets
    /// are remembered for, which ports are in use. Under its name each keeps its shape and its meaning for ever; what
    /// would have another gets another name.
    pub const HANDED_ON: [&str; 9] = [
        LISTENERS, NEWEST, ZTUNNELS, PASSES, CLAIMS, CURSORS, ASKERS, LISTENED, NOTES,
    ];

    /// All but those of the node contract.
    pub const ALL: [&str; 20] = [
        NODE,
        PODS,
        OWN_ADDRESSES,
        PODS_BY_ADDRESS,
        LISTENERS,
        NEWEST,
        ZTUNNELS,
        PASSES,
        CLAIMS,
        CURSORS,
        ASKERS,
        LISTENED,
        PORT_RULES,
        RANGE_RULES,
        VIRTUAL_INTERFACES,
        NOTES,
        MAKING,
        COUNTERS,
        EVENTS,
        UNTOLD,
    ];
}
