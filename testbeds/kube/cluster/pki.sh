#!/bin/bash
# pki.sh NODE…: one authority, certificates and kubeconfigs for all; what is there already stays.
# shellcheck source=/dev/null
. "$(dirname "$0")/env.sh"
mkdir -p "$PKI"
cd "$PKI" || exit

[ -f ca.crt ] || openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 365 -subj /CN=weir-kube 2>/dev/null
if [ ! -f accounts.key ]; then
  openssl genrsa -out accounts.key 2048 2>/dev/null
  openssl rsa -in accounts.key -pubout -out accounts.pub 2>/dev/null
fi

# certify NAME SUBJECT [ALTERNATIVE-NAMES]
certify() {
  [ ! -f "$1.crt" ] || return 0
  openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  {
    echo "extendedKeyUsage=clientAuth,serverAuth"
    [ -z "${3:-}" ] || echo "subjectAltName=$3"
  } >"$1.extensions"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$1.crt" \
    -extfile "$1.extensions" 2>/dev/null
}

# kubeconfig NAME FILE
kubeconfig() {
  cat >"$2" <<EOF
apiVersion: v1
kind: Config
current-context: it
clusters: [{name: it, cluster: {server: "https://$CONTROL_PLANE:443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: it, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: it, context: {cluster: it, user: it}}]
EOF
}

certify apiserver /CN=kube-apiserver "IP:$CONTROL_PLANE,IP:127.0.0.1,IP:$API_SERVICE,DNS:kubernetes.default.svc"
certify admin /O=system:masters/CN=admin
kubeconfig admin "$ADMIN"
certify controllers /CN=system:kube-controller-manager
kubeconfig controllers controllers.kubeconfig
certify scheduler /CN=system:kube-scheduler
kubeconfig scheduler scheduler.kubeconfig
certify kubelet-client /O=system:masters/CN=kubelet-client
for node in "$@"; do
  certify "$node" "/O=system:nodes/CN=system:node:$node" "DNS:$node"
  kubeconfig "$node" "$node.kubeconfig"
done
