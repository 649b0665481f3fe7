# shellcheck shell=bash
# What is set here is used by those that source it.
# shellcheck disable=SC2034
# Names and addresses of the cluster; sourced by all the others.
#
# WEIR_KUBE_STATE     where everything of the cluster is kept
# WEIR_KUBE_PROGRAMS  up.sh: the directory with Kubernetes' programs
# WEIR_KUBE_TARGET    up.sh: the directory with Weir's

set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
STATE=${WEIR_KUBE_STATE:-/var/lib/weir-kube}
PKI=$STATE/pki
ADMIN=$STATE/admin.kubeconfig
# The interface by which this machine reaches the cluster.
UPLINK=weir-kube
CONTROL_PLANE=10.99.0.1
MACHINE=10.99.0.254
# The service `kubernetes`. Its address is the control plane's own, so that it needs no kube-proxy.
API_SERVICE=10.96.0.1

die() { echo "x kube: $*" >&2; exit 1; }

# inside NAME COMMAND…: runs a command in a machine of the cluster, as over ssh.
inside() {
  local pid
  pid=$(cat "$STATE/$1.init") || die "there is no machine $1; ./x kube up makes the cluster"
  shift
  nsenter --target "$pid" --mount --net --pid --cgroup --root --wd=/ -- "$@"
}

# serve MACHINE NAME COMMAND…: the same in the background, with a log.
serve() {
  local machine=$1 name=$2
  shift 2
  # Behind a shell, because nsenter stops with its child, and nobody would make it go on.
  # shellcheck disable=SC2016
  (inside "$machine" sh -c '"$@" & wait' "$name" "$@" </dev/null >>"$STATE/$machine-$name.log" 2>&1 &)
}

# wait_for SECONDS WHAT COMMAND…: asks again and again until the command succeeds.
wait_for() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "$what did not come in time; logs are in $STATE"
    sleep 0.2
  done
}

# ask METHOD PATH [CONTENT-TYPE BODY]: asks the API server as its administrator.
ask() {
  local arguments=()
  [ $# -lt 4 ] || arguments=(--header "Content-Type: $3" --data "$4")
  curl --silent --show-error --fail --max-time 10 --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" \
    --request "$1" "${arguments[@]}" "https://$CONTROL_PLANE$2"
}
