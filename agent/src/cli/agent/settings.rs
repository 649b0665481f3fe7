//! What flags, the environment and the configuration file say. The file's keys are the flags' names.

use std::path::PathBuf;

use serde::Deserialize;
use weir_agent::datapath::Hook;
use weir_agent::pods::source::kubernetes::NodeName;
use weir_agent::run::config::{ContractMode, GuardMode, MacvlanOutbound, ProbeMode};

use super::address::HttpAddress;
use super::duration::Span;
use super::log::LogFormat;
use super::source::SourceKind;

/// One source's settings; what it does not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Where the node's pods come from [default: file if --pods-file is given, kubernetes if --node-name is].
    #[arg(long, env = "WEIR_SOURCE", value_enum)]
    pub source: Option<SourceKind>,
    /// The node that the agent runs on, as the API server names it.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node_name: Option<NodeName>,
    /// Names the API server and the credentials for it [default: those of the pod that the agent runs in].
    #[arg(long, env = "WEIR_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The file that lists the node's pods.
    #[arg(long, env = "WEIR_PODS_FILE", value_name = "FILE")]
    pub pods_file: Option<PathBuf>,
    /// The socket that ztunnel connects to [default: /var/run/ztunnel/ztunnel.sock].
    #[arg(long, env = "WEIR_ZDS_SOCKET", value_name = "PATH")]
    pub zds_socket: Option<PathBuf>,
    /// The socket for `weir status` and its like [default: /var/run/weir/admin.sock].
    #[arg(long, env = "WEIR_ADMIN_SOCKET", value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// The socket that the CNI plugin asks on [default: /var/run/weir/cni.sock with --install-cni, else none].
    #[arg(long, env = "WEIR_CNI_SOCKET", value_name = "PATH")]
    pub cni_socket: Option<PathBuf>,
    /// Put the CNI plugin into the chain of the node's plugins, and keep it there [default: false].
    #[arg(long, env = "WEIR_INSTALL_CNI", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub install_cni: Option<bool>,
    /// The container runtime's directory of network configurations [default: /etc/cni/net.d].
    #[arg(long, env = "WEIR_CNI_CONF_DIR", value_name = "DIRECTORY")]
    pub cni_conf_dir: Option<PathBuf>,
    /// The container runtime's directory of CNI plugins [default: /opt/cni/bin].
    #[arg(long, env = "WEIR_CNI_BIN_DIR", value_name = "DIRECTORY")]
    pub cni_bin_dir: Option<PathBuf>,
    /// The CNI plugin that is installed [default: weir-cni beside this program].
    #[arg(long, env = "WEIR_CNI_PLUGIN", value_name = "FILE")]
    pub cni_plugin: Option<PathBuf>,
    /// Pods that start whether or not an agent runs, as NAMESPACE/BEGINNING-OF-NAME; repeatable
    /// [default: ztunnel- and weir- in the system namespace, weir- in weir-system and kube-system].
    #[arg(long, env = "WEIR_CNI_EXEMPT", value_name = "PODS", value_delimiter = ',')]
    pub cni_exempt: Option<Vec<String>>,
    /// Let pods start while no agent runs, in namespaces of which an agent has said since the last boot that no pod there is in
    /// the mesh [default: true]. Otherwise they wait like all others.
    #[arg(long, env = "WEIR_START_WITHOUT_AGENT", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub start_without_agent: Option<bool>,
    /// Leave Istio's own CNI plugin out of the chain instead of refusing to run beside it [default: false].
    #[arg(long, env = "WEIR_TAKE_OVER", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub take_over: Option<bool>,
    /// Where probes and metrics are answered, or none (default: `[::]:15014`).
    #[arg(long, env = "WEIR_HTTP_ADDRESS", value_name = "ADDRESS:PORT")]
    pub http_address: Option<HttpAddress>,
    /// Tell the connections of each pod in the metrics [default: false].
    #[arg(long, env = "WEIR_POD_METRICS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub pod_metrics: Option<bool>,
    /// Directory of all pins, on a BPF filesystem [default: /sys/fs/bpf/weir].
    #[arg(long, env = "WEIR_PIN_ROOT", value_name = "DIRECTORY")]
    pub pin_root: Option<PathBuf>,
    /// The cgroup that programs are attached to [default: the root of the cgroup2 hierarchy].
    #[arg(long, env = "WEIR_CGROUP", value_name = "DIRECTORY")]
    pub cgroup: Option<PathBuf>,
    /// The cgroup below which all pods live [default: kubepods.slice or kubepods, if there is one].
    #[arg(long, env = "WEIR_PODS_CGROUP", value_name = "DIRECTORY")]
    pub pods_cgroup: Option<PathBuf>,
    /// A handle of the node's own network namespace [default: /proc/1/ns/net].
    #[arg(long, env = "WEIR_HOST_NETNS", value_name = "PATH")]
    pub host_netns: Option<PathBuf>,
    /// A namespace whose pods are never enrolled; repeatable, '' for none at all [default: kube-system].
    #[arg(
        long,
        env = "WEIR_EXCLUDE_NAMESPACE",
        value_name = "NAMESPACE",
        value_delimiter = ','
    )]
    pub exclude_namespace: Option<Vec<String>>,
    /// The namespace where ztunnel runs [default: istio-system].
    #[arg(long, env = "WEIR_SYSTEM_NAMESPACE", value_name = "NAMESPACE")]
    pub system_namespace: Option<String>,
    /// A YAML list of {podSelector, namespaceSelector}: pods that one of them matches are enrolled
    /// [default: as labelled with istio.io/dataplane-mode].
    #[arg(long, env = "WEIR_ENABLEMENT_SELECTORS", value_name = "FILE")]
    pub enablement_selectors: Option<PathBuf>,
    /// Capture DNS where a pod's annotations do not say [default: true].
    #[arg(long, env = "WEIR_DNS_CAPTURE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub dns_capture: Option<bool>,
    /// What happens to connections that leave an enrolled pod without having gone through ztunnel [default: audit]. What
    /// only counts begins when no pod has come into the mesh for a second, at most half a minute later; what drops is there
    /// before, and starts wait for it.
    #[arg(long, env = "WEIR_GUARD", value_enum)]
    pub guard: Option<GuardMode>,
    /// Where ztunnel has its sockets: in the pods (Istio 1.21 and newer), or in a network namespace of its own
    /// [default: auto, by the ztunnel that is there].
    #[arg(long, env = "WEIR_CONTRACT", value_enum)]
    pub contract: Option<ContractMode>,
    /// The network namespace of a ztunnel that has its sockets there [default: that of ztunnel's pod].
    #[arg(long, env = "WEIR_ZTUNNEL_NETNS", value_name = "PATH")]
    pub ztunnel_netns: Option<PathBuf>,
    /// How connections of pods on macvlan leave for such a ztunnel on the same parent [default: socket].
    #[arg(long, env = "WEIR_MACVLAN_OUTBOUND", value_enum)]
    pub macvlan_outbound: Option<MacvlanOutbound>,
    /// Let connections go on uncaptured while no such ztunnel is there, instead of stopping them [default: false].
    #[arg(long, env = "WEIR_FAIL_OPEN", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub fail_open: Option<bool>,
    /// Which processes of the node may reach enrolled pods uncaptured [default: outside-pods].
    #[arg(long, env = "WEIR_PROBES", value_enum)]
    pub probes: Option<ProbeMode>,
    /// How often each pod is verified, from 1s [default: 30s].
    #[arg(long, env = "WEIR_VERIFY_INTERVAL", value_name = "DURATION")]
    pub verify_interval: Option<Span>,
    /// Enrolled pods that the maps have room for [default: 1024].
    #[arg(long, env = "WEIR_MAX_PODS", value_name = "N")]
    pub max_pods: Option<u32>,
    /// Addresses per pod that the maps have room for, on average [default: 4].
    #[arg(long, env = "WEIR_MAX_ADDRESSES_PER_POD", value_name = "N")]
    pub max_addresses_per_pod: Option<u32>,
    /// Probes under way at once [default: 16384].
    #[arg(long, env = "WEIR_MAX_PROBES", value_name = "N")]
    pub max_probes: Option<u32>,
    /// Connections on the node of which something is remembered at once [default: 262144].
    #[arg(long, env = "WEIR_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<u32>,
    /// ztunnels that run on the node at once: upgrades overlap [default: 64].
    #[arg(long, env = "WEIR_MAX_ZTUNNELS", value_name = "N")]
    pub max_ztunnels: Option<u32>,
    /// Ports, and as many ranges, in the annotations of the node's pods [default: 16384].
    #[arg(long, env = "WEIR_MAX_RULES", value_name = "N")]
    pub max_rules: Option<u32>,
    /// Bytes of the buffer behind `weir trace`, a power of two from 4096 [default: 262144].
    #[arg(long, env = "WEIR_TRACE_BUFFER", value_name = "BYTES")]
    pub trace_buffer: Option<u32>,
    /// Take the data plane away when the agent ends; pods are out of the mesh then [default: false].
    #[arg(long, env = "WEIR_REMOVE_ON_EXIT", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub remove_on_exit: Option<bool>,
    /// How programs are put at interfaces [default: the better way that the kernel has]. For tests: an agent takes up what
    /// one with the other way has left only after `weir cleanup`.
    #[arg(long, env = "WEIR_INTERFACE_HOOK", value_enum, hide = true)]
    pub interface_hook: Option<Hook>,
    /// Version of the layout of what is pinned [default: that of this build]. For tests: programs stay what they are.
    #[arg(long, env = "WEIR_LAYOUT", hide = true, value_name = "N")]
    pub layout: Option<u32>,
    /// How log lines look [default: text].
    #[arg(long, env = "WEIR_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// What is logged, such as `debug` or `info,weir_agent::zds=debug` [default: info].
    #[arg(long, env = "WEIR_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

impl Settings {
    /// These, and `lesser` where they say nothing.
    pub fn or(self, lesser: Self) -> Self {
        Self {
            source: self.source.or(lesser.source),
            node_name: self.node_name.or(lesser.node_name),
            kubeconfig: self.kubeconfig.or(lesser.kubeconfig),
            pods_file: self.pods_file.or(lesser.pods_file),
            zds_socket: self.zds_socket.or(lesser.zds_socket),
            admin_socket: self.admin_socket.or(lesser.admin_socket),
            cni_socket: self.cni_socket.or(lesser.cni_socket),
            install_cni: self.install_cni.or(lesser.install_cni),
            cni_conf_dir: self.cni_conf_dir.or(lesser.cni_conf_dir),
            cni_bin_dir: self.cni_bin_dir.or(lesser.cni_bin_dir),
            cni_plugin: self.cni_plugin.or(lesser.cni_plugin),
            cni_exempt: self.cni_exempt.or(lesser.cni_exempt),
            start_without_agent: self.start_without_agent.or(lesser.start_without_agent),
            take_over: self.take_over.or(lesser.take_over),
            http_address: self.http_address.or(lesser.http_address),
            pod_metrics: self.pod_metrics.or(lesser.pod_metrics),
            pin_root: self.pin_root.or(lesser.pin_root),
            cgroup: self.cgroup.or(lesser.cgroup),
            pods_cgroup: self.pods_cgroup.or(lesser.pods_cgroup),
            host_netns: self.host_netns.or(lesser.host_netns),
            exclude_namespace: self.exclude_namespace.or(lesser.exclude_namespace),
            system_namespace: self.system_namespace.or(lesser.system_namespace),
            enablement_selectors: self.enablement_selectors.or(lesser.enablement_selectors),
            dns_capture: self.dns_capture.or(lesser.dns_capture),
            guard: self.guard.or(lesser.guard),
            contract: self.contract.or(lesser.contract),
            ztunnel_netns: self.ztunnel_netns.or(lesser.ztunnel_netns),
            macvlan_outbound: self.macvlan_outbound.or(lesser.macvlan_outbound),
            fail_open: self.fail_open.or(lesser.fail_open),
            probes: self.probes.or(lesser.probes),
            verify_interval: self.verify_interval.or(lesser.verify_interval),
            max_pods: self.max_pods.or(lesser.max_pods),
            max_addresses_per_pod: self.max_addresses_per_pod.or(lesser.max_addresses_per_pod),
            max_probes: self.max_probes.or(lesser.max_probes),
            max_connections: self.max_connections.or(lesser.max_connections),
            max_ztunnels: self.max_ztunnels.or(lesser.max_ztunnels),
            max_rules: self.max_rules.or(lesser.max_rules),
            trace_buffer: self.trace_buffer.or(lesser.trace_buffer),
            remove_on_exit: self.remove_on_exit.or(lesser.remove_on_exit),
            interface_hook: self.interface_hook.or(lesser.interface_hook),
            layout: self.layout.or(lesser.layout),
            log_format: self.log_format.or(lesser.log_format),
            log: self.log.or(lesser.log),
        }
    }
}
