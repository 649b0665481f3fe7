# shellcheck shell=sh disable=SC2154  # part of two rows
install_cni() {
    base=https://raw.githubusercontent.com/projectcalico/calico/$CALICO/manifests
    kubectl create --filename "$base/operator-crds.yaml" || :
    kubectl create --filename "$base/tigera-operator.yaml"
    if [ "$dataplane" = BPF ]; then
        kubectl apply --filename - <<EOF
apiVersion: v1
kind: ConfigMap
metadata: {name: kubernetes-services-endpoint, namespace: tigera-operator}
data: {KUBERNETES_SERVICE_HOST: "$cluster-control-plane", KUBERNETES_SERVICE_PORT: "6443"}
EOF
    fi
    kubectl wait crd/installations.operator.tigera.io --for=condition=Established --timeout 60s
    kubectl apply --filename - <<EOF
apiVersion: operator.tigera.io/v1
kind: Installation
metadata: {name: default}
spec:
  calicoNetwork:
    linuxDataplane: $dataplane
    ipPools: [$(pools)]
EOF
}

pools() {
    separator=''
    for subnet in $(echo "$pod_subnet" | tr , ' '); do
        printf '%s{cidr: "%s", encapsulation: VXLAN}' "$separator" "$subnet"
        separator=', '
    done
}
