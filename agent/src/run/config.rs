//! What the agent is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use crate::cni_conf::InstallConfig;
use crate::datapath::{Hook, Sizes};
use crate::pods::select::Rules;
use crate::pods::source::kubernetes::NodeName;

/// Where the ztunnel has its sockets that pods' connections are handed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ContractMode {
    /// In the pods, or in its own network namespace where one listens there and none connects.
    Auto,
    /// In the pods.
    InPod,
    /// In its own network namespace.
    Node,
}

/// How connections of pods on macvlan leave for a ztunnel beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MacvlanOutbound {
    /// They are made to ztunnel's address; servers see ztunnel's.
    Socket,
    /// Their frames go to ztunnel's interface; servers see the pod's address.
    Steer,
}

impl From<MacvlanOutbound> for weir_netdetect::choose::MacvlanOutbound {
    fn from(way: MacvlanOutbound) -> Self {
        match way {
            MacvlanOutbound::Socket => Self::Socket,
            MacvlanOutbound::Steer => Self::Steer,
        }
    }
}

/// What happens to connections that leave an enrolled pod without having gone through ztunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum GuardMode {
    /// Nobody looks.
    Off,
    /// They are counted.
    Audit,
    /// They are counted and dropped.
    Enforce,
}

/// Which processes of the node may reach enrolled pods uncaptured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeMode {
    /// Those outside the pods' cgroup: kubelet, the runtime.
    OutsidePods,
    /// Every process on the node's network.
    AnyHostProcess,
}

/// Where the node's pods come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// A file of pods.
    File(PathBuf),
    /// The API server.
    Kubernetes(KubernetesConfig),
}

/// The API server, and which node this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// The node.
    pub node: NodeName,
    /// Names the server and our credentials; the service account's if absent.
    pub kubeconfig: Option<PathBuf>,
}

/// The container runtime's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniConfig {
    /// The socket that the CNI plugin asks on.
    pub socket: PathBuf,
    /// How the plugin gets into the chain; it is somebody else's business if absent.
    pub install: Option<InstallConfig>,
    /// Whether pods of namespaces that are known to be out of the mesh may start while no agent runs.
    pub start_without_agent: bool,
}

/// The agent's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Where the node's pods come from.
    pub source: SourceConfig,
    /// The socket that ztunnel connects to.
    pub zds_socket: PathBuf,
    /// The socket for `weir status` and its like.
    pub admin_socket: PathBuf,
    /// The container runtime's side; pods are found by their processes alone if absent.
    pub cni: Option<CniConfig>,
    /// Where probes and metrics are answered; nowhere if absent.
    pub http_address: Option<SocketAddr>,
    /// Whether metrics tell the connections of each pod.
    pub pod_metrics: bool,
    /// Directory of all pins.
    pub pin_root: PathBuf,
    /// Version of the layout below it; tests play another one.
    pub layout: u32,
    /// Cgroup that programs are attached to; the root of the hierarchy if absent.
    pub cgroup: Option<PathBuf>,
    /// Cgroup below which all pods live; looked for if absent.
    pub pods_cgroup: Option<PathBuf>,
    /// A handle of the node's own network namespace.
    pub host_netns: PathBuf,
    /// The container runtime's directory of network configurations.
    pub cni_conf_dir: PathBuf,
    /// Sizes of the maps.
    pub sizes: Sizes,
    /// How programs are put at interfaces.
    pub hook: Hook,
    /// Which pods are enrolled.
    pub rules: Rules,
    /// Whether DNS is captured where a pod does not say.
    pub dns_capture: bool,
    /// What the guard does.
    pub guard: GuardMode,
    /// Where ztunnel has its sockets.
    pub contract: ContractMode,
    /// The network namespace of the node's ztunnel, where it is not found by its pod.
    pub ztunnel_netns: Option<PathBuf>,
    /// How connections of pods on macvlan leave for a ztunnel beside them.
    pub macvlan_outbound: MacvlanOutbound,
    /// Whether connections go on uncaptured while there is no ztunnel with sockets in its own namespace.
    pub fail_open: bool,
    /// Which host processes are probes.
    pub probes: ProbeMode,
    /// How often each pod is verified.
    pub verify_interval: Duration,
    /// Whether the data plane goes when the agent ends.
    pub remove_on_exit: bool,
}
