# shellcheck shell=sh disable=SC2034,SC2154  # read by, and reads from, testbeds/kind/run
# Calico without iptables and kube-proxy: programs at the same hooks as Weir's.
dataplane=BPF
kube_proxy=none
# shellcheck source=/dev/null
. "$here/calico-install.sh"
