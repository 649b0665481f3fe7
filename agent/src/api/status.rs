//! The answers to `GET /status` and `GET /status/<pod>`.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use weir_netdetect::choose::{MacvlanOutbound, Ztunnel};

use super::time::Timestamp;

/// The agent and all its pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`super::VERSION`].
    pub api_version: u32,
    /// The agent.
    pub agent: AgentStatus,
    /// The node's pods, by namespace and name.
    pub pods: Vec<PodSummary>,
}

/// The agent itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its version.
    pub version: String,
    /// Version of the layout of what is pinned.
    pub layout: u32,
    /// Its process.
    pub process: u32,
    /// Since when it runs.
    pub started: Timestamp,
    /// Other layouts that still have pods in their hands.
    #[serde(default)]
    pub other_layouts: Vec<OtherLayout>,
    /// What is missing before it is ready; nothing once it is.
    pub missing: Vec<String>,
    /// Where its kernel objects are pinned.
    pub pin_root: PathBuf,
    /// Whether pods and the node's processes may not be told apart by cgroup.
    pub hybrid_cgroups: bool,
    /// What is wrong with the source of pods.
    pub source_error: Option<String>,
    /// The connected ztunnels, the oldest first.
    pub ztunnels: Vec<ZtunnelStatus>,
    /// Those that have their sockets in namespaces of their own.
    #[serde(default)]
    pub node_ztunnels: Vec<NodeZtunnel>,
    /// How connections of pods on macvlan leave for one of those.
    #[serde(default)]
    pub macvlan_outbound: MacvlanOutbound,
    /// How the node is connected, once that was looked at.
    #[serde(default)]
    pub wiring: Option<NodeWiring>,
}

/// What an agent of another layout has left, while pods are taken over from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherLayout {
    /// Its version.
    pub layout: u32,
    /// How many pods are in its hands.
    pub pods: usize,
}

/// How the node is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeWiring {
    /// Types of the CNI plugins that the container runtime is configured to call.
    pub plugins: Vec<String>,
    /// What is wrong with that configuration, and what istio-cni has left.
    pub problems: Vec<String>,
    /// When it was looked at.
    pub at: Timestamp,
}

/// A connected ztunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZtunnelStatus {
    /// Its process; 0 where that cannot be seen.
    pub process: i32,
    /// Since when it is connected.
    pub since: Timestamp,
    /// How far it is: `handshake`, `snapshot`, `live`.
    pub state: String,
    /// Whether new pods are told to this one.
    pub newest: bool,
    /// Pods that it serves.
    pub acked: usize,
    /// Pods that it is still to be told of, or to answer for.
    pub pending: usize,
    /// Its last refusal.
    pub last_error: Option<String>,
}

/// A ztunnel with its sockets in a namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeZtunnel {
    /// Its pod, or the path of its namespace.
    pub name: String,
    /// Whether it listens.
    pub listening: bool,
    /// Whether new connections go to this one.
    pub current: bool,
    /// How it is connected, as far as pods' paths depend on it; nothing while it does not listen.
    #[serde(default)]
    pub connected: Option<Ztunnel>,
    /// What is wrong with it.
    pub complaint: Option<String>,
}

/// A pod in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSummary {
    /// Its UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `enrolled`, `pending`, `failed`, or `left` for a pod that is not meant to be in the mesh.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
    /// How its connections are captured, if they are.
    pub path: Option<String>,
    /// Its first interface, which that is the path of: the one of its default route.
    #[serde(default)]
    pub interface: Option<String>,
    /// Why it is in this state, in a sentence.
    pub why: String,
    /// Its netns cookie, once known.
    pub netns: Option<u64>,
    /// Its addresses, once enrolled.
    pub addresses: Vec<IpAddr>,
    /// Its connections, by what happened to them.
    pub connections: Verdicts,
    /// What is odd about its annotations, or may get in the way.
    pub warnings: Vec<String>,
    /// What of its traffic is not captured because of how it is connected, and why.
    #[serde(default)]
    pub not_captured: Vec<String>,
    /// How often enrolment was tried since it last worked.
    pub attempts: u32,
    /// How its last verification ended.
    pub verified: Option<Verified>,
}

/// Connections by what happened to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// They went to ztunnel.
    pub redirected: u64,
    /// They went where they were meant to, on purpose.
    pub passed: u64,
    /// They were stopped.
    pub refused: u64,
    /// Weir could not do what it should have.
    pub failed: u64,
}

/// A verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When.
    pub at: Timestamp,
    /// What is wrong; nothing when all is well.
    pub problems: Vec<Problem>,
    /// What was wrong and has been put right.
    pub mended: Vec<Problem>,
}

/// Something that is, or was, not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What was looked at.
    pub check: String,
    /// In a sentence.
    pub detail: String,
}

/// A pod with all its details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodDetail {
    /// [`super::VERSION`].
    pub api_version: u32,
    /// What the list tells of it.
    #[serde(flatten)]
    pub pod: PodSummary,
    /// Its connections, by reason.
    pub reasons: Vec<ReasonCount>,
    /// What the kernel side is told of it, if it is.
    pub kernel: Option<KernelState>,
    /// ztunnel's listeners in it that the kernel side knows.
    pub listeners: Vec<Listeners>,
    /// Its interfaces, as far as its netns is known.
    pub interfaces: Vec<Interface>,
    /// How they are connected; those that lead out of the pod.
    #[serde(default)]
    pub wiring: Vec<InterfaceWiring>,
    /// A path by which root can open its netns, for as long as the agent holds it.
    #[serde(default)]
    pub netns_path: Option<PathBuf>,
    /// Whether ztunnel serves it, if it was told of it.
    pub ztunnel: Option<Served>,
}

/// Connections for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// The reason.
    pub reason: String,
    /// What happens for it.
    pub verdict: String,
    /// How many there were.
    pub count: u64,
    /// What it means.
    pub help: String,
}

/// A pod's entry in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelState {
    /// Flags that are set, by name.
    pub flags: Vec<String>,
    /// Whether the look-up of listeners is attached.
    pub lookup_attached: bool,
}

impl KernelState {
    /// The flag of pods whose ztunnel has its sockets elsewhere.
    pub const NODE_CONTRACT: &str = "node-contract";

    /// Whether the look-up of listeners should be attached and is not: where there are no listeners there is none.
    #[must_use]
    pub fn lacks_lookup(&self) -> bool {
        !self.lookup_attached && !self.flags.iter().any(|flag| flag == Self::NODE_CONTRACT)
    }
}

/// Listeners on one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listeners {
    /// The port.
    pub port: u16,
    /// How many the kernel side knows.
    pub registered: usize,
}

/// An interface in a pod's netns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
}

/// How an interface of a pod is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceWiring {
    /// Its name in the pod.
    pub interface: String,
    /// Its kind, with its mode.
    pub kind: String,
    /// The peer or parent on the node, by name.
    pub far_end: Option<String>,
    /// The CNI plugin that made it.
    pub plugin: String,
    /// How sure that is.
    pub confidence: String,
}

/// What ztunnel says of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Whether it serves the pod.
    pub acked: bool,
    /// Why it does not.
    pub nack: Option<String>,
}

/// What the pins tell while no agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// [`super::VERSION`].
    pub api_version: u32,
    /// Always nothing: this is how the answer is told from [`Status`].
    pub agent: Option<AgentStatus>,
    /// The pods that the kernel side knows.
    pub pinned: Vec<PinnedPod>,
}

/// A pod in the kernel, whose name only an agent knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedPod {
    /// Its netns cookie.
    pub netns: u64,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its entry.
    pub kernel: KernelState,
    /// Its connections, by what happened to them.
    pub connections: Verdicts,
    /// Its connections, by reason.
    pub reasons: Vec<ReasonCount>,
}
