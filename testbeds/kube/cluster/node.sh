#!/bin/bash
# node.sh NAME NUMBER bridge|macvlan: a node with containerd and kubelet; also after stop.sh, as after a power cut.
# shellcheck source=/dev/null
. "$(dirname "$0")/env.sh"
name=$1 number=$2 kind=$3
address=10.99.0.1$number
pods=10.244.$number.0/24

"$HERE/machine.sh" "$name"
inside control ip link del "$name" 2>/dev/null || true
ip link add "$name" netns "$(cat "$STATE/control.init")" type veth peer name eth0 netns "$(cat "$STATE/$name.init")"
inside control ip link set "$name" master switch up
inside "$name" ip link set eth0 up
case $kind in
bridge)
  inside "$name" ip addr add "$address/24" dev eth0
  inside control ip route replace "$pods" via "$address"
  network='"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true'
  ranges="[[{\"subnet\": \"$pods\"}]]"
  ;;
macvlan)
  # Siblings reach each other, parent and child do not: the node itself is a sibling, so that its probes arrive.
  inside "$name" ip link add link eth0 name node type macvlan mode bridge
  inside "$name" ip addr add "$address/24" dev node
  inside "$name" ip link set node up
  network='"type": "macvlan", "master": "eth0", "mode": "bridge"'
  # As many as the kubelet lets pods run.
  first=$((20 + (number - 1) * 110))
  ranges="[[{\"subnet\": \"10.99.0.0/24\", \"rangeStart\": \"10.99.0.$first\", \"rangeEnd\": \"10.99.0.$((first + 109))\",
    \"gateway\": \"$CONTROL_PLANE\"}]]"
  ;;
*) die "a node's pods are on a bridge or a macvlan, not on $kind" ;;
esac
inside "$name" ip route add default via "$CONTROL_PLANE"
inside "$name" sysctl --quiet --write net.ipv4.ip_forward=1

own=$STATE/$name
if [ ! -e "$own/cni-conf/10-pods.conflist" ]; then
  cat >"$own/cni-conf/10-pods.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{$network,
  "ipam": {"type": "host-local", "dataDir": "/run/cni-addresses", "ranges": $ranges, "routes": [{"dst": "0.0.0.0/0"}]}}]}
EOF
fi
# Where the kernel lets nobody lower the OOM score, runc dies of it.
cat >"$own/containerd.toml" <<EOF
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "weir.test/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
EOF
serve "$name" containerd containerd --config "$own/containerd.toml"
wait_for 60 "containerd of $name" inside "$name" ctr version
for image in "$STATE"/images/*.tar; do
  inside "$name" ctr --namespace k8s.io images import "$image" >/dev/null
done

: >"$own/resolv.conf"
cat >"$own/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$name
enforceNodeAllocatable: [pods]
failSwapOn: false
readOnlyPort: 0
resolvConf: $own/resolv.conf
tlsCertFile: $PKI/$name.crt
tlsPrivateKeyFile: $PKI/$name.key
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", memory.available: "50Mi"}
imageGCHighThresholdPercent: 100
# By default it tells of five pods a second.
kubeAPIQPS: 50
kubeAPIBurst: 100
EOF
serve "$name" kubelet "$(cat "$STATE/programs")/kubelet" --config="$own/kubelet.yaml" --kubeconfig="$PKI/$name.kubeconfig" \
  --hostname-override="$name" --node-ip="$address" --container-runtime=remote --network-plugin=cni \
  --container-runtime-endpoint=unix:///run/containerd/containerd.sock --cert-dir="$own/kubelet-pki"

is_ready() { ask GET "/api/v1/nodes/$name" | jq --exit-status '.status.conditions[]? | select(.type == "Ready" and .status == "True")'; }
wait_for 120 "node $name" is_ready
