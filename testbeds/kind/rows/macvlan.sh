# shellcheck shell=sh disable=SC2034,SC2154  # read by, and reads from, testbeds/kind/run
# A second interface by Multus, macvlan in bridge mode: no host side, and the node cannot reach it.
default_cni=true
servers=1
more_mesh=172.30.0.11
more_outside=172.30.0.12
networks() { printf '[{"name": "macvlan", "ips": ["172.30.0.%s/24"]}]' "$1"; }
install_cni() {
    install_plugins
    kubectl apply --filename \
        "https://raw.githubusercontent.com/k8snetworkplumbingwg/multus-cni/$MULTUS/deployments/multus-daemonset-thick.yml"
    kubectl --namespace kube-system rollout status daemonset/kube-multus-ds --timeout 180s
    for namespace in weir-mesh weir-outside; do
        kubectl create namespace "$namespace"
        kubectl --namespace "$namespace" apply --filename "$here/macvlan.yaml"
    done
}
