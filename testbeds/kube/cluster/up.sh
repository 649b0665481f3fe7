#!/bin/bash
# up.sh: the control plane and two nodes, one with bridged pods and one with macvlan pods.
# shellcheck source=/dev/null
. "$(dirname "$0")/env.sh"
[ ! -e "$STATE/control.init" ] || die "the cluster is up already; ./x kube down ends it"
mkdir -p "$STATE"
echo "$WEIR_KUBE_PROGRAMS" >"$STATE/programs"
done=
trap '[ -n "$done" ] || "$HERE/down.sh" keep' EXIT
"$HERE/pki.sh" node-1 node-2
"$HERE/images.sh"

"$HERE/machine.sh" control
inside control ip addr add "$API_SERVICE/32" dev lo
inside control ip link add switch type bridge
inside control ip addr add "$CONTROL_PLANE/24" dev switch
inside control ip link set switch up
inside control sysctl --quiet --write net.ipv4.ip_forward=1
ip link add "$UPLINK" type veth peer name machine netns "$(cat "$STATE/control.init")"
inside control ip link set machine master switch up
ip addr add "$MACHINE/24" dev "$UPLINK"
ip link set "$UPLINK" up

bin=$WEIR_KUBE_PROGRAMS
etcd=$(command -v "$bin/etcd" || command -v etcd)
serve control etcd "$etcd" --data-dir "$STATE/control/etcd" --unsafe-no-fsync --initial-cluster default=http://127.0.0.1:2380 \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380
serve control apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --secure-port=443 \
  --bind-address=0.0.0.0 --advertise-address="$CONTROL_PLANE" --service-cluster-ip-range=10.96.0.0/16 \
  --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$PKI/accounts.pub" \
  --service-account-signing-key-file="$PKI/accounts.key" --authorization-mode=Node,RBAC --allow-privileged=true \
  --enable-admission-plugins=NodeRestriction --kubelet-preferred-address-types=InternalIP \
  --kubelet-client-certificate="$PKI/kubelet-client.crt" --kubelet-client-key="$PKI/kubelet-client.key" \
  --cert-dir="$STATE/control/apiserver"
wait_for 180 "the API server" ask GET /readyz
serve control controllers "$bin/kube-controller-manager" --kubeconfig="$PKI/controllers.kubeconfig" --leader-elect=false \
  --bind-address=127.0.0.1 --use-service-account-credentials --root-ca-file="$PKI/ca.crt" --allocate-node-cidrs=false \
  --service-account-private-key-file="$PKI/accounts.key" --cert-dir="$STATE/control/controllers"
serve control scheduler "$bin/kube-scheduler" --kubeconfig="$PKI/scheduler.kubeconfig" --leader-elect=false \
  --bind-address=127.0.0.1 --cert-dir="$STATE/control/scheduler"

"$HERE/node.sh" node-1 1 bridge
"$HERE/node.sh" node-2 2 macvlan
done=1
echo "The cluster is up: kubectl --kubeconfig $ADMIN get nodes. A shell on a node: $HERE/shell.sh node-1"
