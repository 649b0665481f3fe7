# shellcheck shell=sh disable=SC2034,SC2154  # read by, and reads from, testbeds/kind/run
# Point-to-point veths with 169.254.1.1, proxy ARP and strict reverse path filters; iptables data plane.
dataplane=Iptables
# shellcheck source=/dev/null
. "$here/calico-install.sh"
