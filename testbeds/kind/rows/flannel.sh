# shellcheck shell=sh disable=SC2034,SC2154  # read by, and reads from, testbeds/kind/run
# veths on a bridge, VXLAN between nodes.
install_cni() {
    install_plugins
    case $family in
        v4) network='"Network": "10.244.0.0/16"' ;;
        v6) network='"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00:10:244::/56"' ;;
        dual) network='"EnableIPv6": true, "Network": "10.244.0.0/16", "IPv6Network": "fd00:10:244::/56"' ;;
    esac
    kubectl apply --filename "https://github.com/flannel-io/flannel/releases/download/$FLANNEL/kube-flannel.yml"
    kubectl --namespace kube-flannel patch configmap kube-flannel-cfg --type merge \
        --patch "data: {net-conf.json: '{$network, \"Backend\": {\"Type\": \"vxlan\"}}'}"
    kubectl --namespace kube-flannel rollout restart daemonset/kube-flannel-ds
}
