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
    "{config: {guard: enforce, pod-metrics: true, verify-interval: 1m, log: 'info,weir_agent=debug'}}",
    "{enablementSelectors: [{podSelector: {matchLabels: {mesh: 'yes'}}}], extraCapabilities: [DAC_OVERRIDE]}",
    "{monitoring: {podMonitor: {enabled: true}, rules: {enabled: true}, dashboard: {enabled: true}}}",
    "{resourceQuota: true, seccompProfile: {type: Localhost, localhostProfile: weir.json}, seLinuxType: spc_t}",
];

/// Each must be refused with a complaint that names the second.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("platforms: gke", "platforms"),
    ("platform: gcp", "platform"),
    ("{config: {guards: enforce}}", "guards"),
    // YAML takes a bare `off` for false.
    ("{config: {guard: off}}", "guard"),
    ("{config: {pin-root: /tmp}}", "pin-root"),
    ("{config: {verify-interval: 30}}", "verify-interval"),
    ("{cni: {confDir: etc/cni}}", "confDir"),
    ("{image: {digest: latest}}", "digest"),
    ("maxUnavailable: 0", "maxUnavailable"),
    ("{monitoring: {podMonitor: {enable: true}}}", "enable"),
    ("{enablementSelectors: [{pods: {}}]}", "pods"),
];
