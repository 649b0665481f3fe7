# shellcheck shell=sh disable=SC2034,SC2154  # read by, and reads from, testbeds/kind/run
# Programs at the same hooks as Weir's, and a socket load balancer, kept to the node's own processes.
kube_proxy=none
install_cni() {
    helm install cilium cilium --repo https://helm.cilium.io --version "$CILIUM" --namespace kube-system \
        --set cni.exclusive=false --set socketLB.hostNamespaceOnly=true --set kubeProxyReplacement=true \
        --set k8sServiceHost="$cluster-control-plane" --set k8sServicePort=6443 \
        --set ipam.mode=kubernetes --set operator.replicas=1 \
        --set ipv4.enabled="$([ "$family" = v6 ] && echo false || echo true)" \
        --set ipv6.enabled="$([ "$family" = v4 ] && echo false || echo true)"
}
