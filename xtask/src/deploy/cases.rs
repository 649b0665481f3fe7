//! Values that the chart must take, and values that it must refuse.

/// Each must render.
pub(super) const TAKEN: &[&str] = &[
    "platform: gke",
    "platform: eks",
    "platform: aks",
    "platform: k3s",
    "platform: k3d",
    "platform: microk8s",
    "platform: minikube",
    "platform: openshift",
    "platform: kind",
    "{image: {repository: example.org/weir, digest: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}}",
    "{hostNetwork: true, cni: {enabled: false}, maxUnavailable: 10%}",
    "{config: {guard: enforce, pod-metrics: true, start-without-agent: false, verify-interval: 1m, log: 'info,weir_agent=debug'}}",
    "{config: {contract: node, ztunnel-netns: /var/run/netns/ztunnel, macvlan-outbound: steer, fail-open: true}}",
    "{enablementSelectors: [{podSelector: {matchLabels: {mesh: 'yes'}}}], extraCapabilities: [DAC_OVERRIDE]}",
    "{monitoring: {podMonitor: {enabled: true}, rules: {enabled: true}, dashboard: {enabled: true}}}",
    "{resourceQuota: true, seccompProfile: {type: Localhost, localhostProfile: weir.json}, seLinuxType: spc_t}",
];

const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/weir: unconfined";
const APPARMOR_FIELD: &str = "appArmorProfile:";
/// Istio's label where the DaemonSet selects its pods.
const SELECTED: &str = "\n      k8s-app";
/// Versions of Kubernetes and values, each with what must be rendered for them and what must not.
pub(super) const RENDERED: &[(&str, &str, &str, &str)] = &[
    ("1.20.0", "", APPARMOR_ANNOTATION, APPARMOR_FIELD),
    ("1.29.15-gke.100", "", APPARMOR_ANNOTATION, APPARMOR_FIELD),
    ("1.30.0", "", APPARMOR_FIELD, APPARMOR_ANNOTATION),
    ("1.36.0", "", APPARMOR_FIELD, APPARMOR_ANNOTATION),
    ("1.36.0", "", "sidecar.istio.io/inject: \"false\"", "k8s-app"),
    (
        "1.36.0",
        "istioUntaint: true",
        "\n        k8s-app: istio-cni-node\n",
        SELECTED,
    ),
    ("1.36.0", "platform: gke", "install-cni: true", "seLinuxOptions:"),
    (
        "1.36.0",
        "{platform: gke, cni: {enabled: false}}",
        "resourcequota",
        "cni",
    ),
    ("1.36.0", "platform: openshift", "type: spc_t", "cni"),
    (
        "1.36.0",
        "{platform: openshift, cni: {enabled: true}}",
        "path: /etc/kubernetes/cni/net.d",
        "multus",
    ),
];

/// Each must be refused with a complaint that names the second.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("platforms: gke", "platforms"),
    ("platform: gcp", "platform"),
    ("{config: {guards: enforce}}", "guards"),
    // YAML takes a bare `off` for false.
    ("{config: {guard: off}}", "guard"),
    ("{config: {pin-root: /tmp}}", "pin-root"),
    ("{config: {contract: pod}}", "contract"),
    ("{config: {ztunnel-netns: ztunnel}}", "ztunnel-netns"),
    ("{config: {verify-interval: 30}}", "verify-interval"),
    ("{cni: {confDir: etc/cni}}", "confDir"),
    ("{image: {digest: latest}}", "digest"),
    ("maxUnavailable: 0", "maxUnavailable"),
    ("{monitoring: {podMonitor: {enable: true}}}", "enable"),
    ("{enablementSelectors: [{pods: {}}]}", "pods"),
];
