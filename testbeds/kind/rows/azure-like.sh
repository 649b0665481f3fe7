# shellcheck shell=sh disable=SC2034  # read by testbeds/kind/run
# As Azure's CNI wires pods in its transparent mode: point-to-point veths, strict reverse path filters. And as it is
# upgraded: its configuration is written anew after Weir has taken its place in it.
default_cni=true
after_weir() {
    # shellcheck disable=SC2016  # the node's shell is to expand it
    on_nodes sh -c 'for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >"$file"; done'
    on_nodes sh -c 'cd /etc/cni/net.d && cp 10-kindnet.conflist ../rewritten && mv ../rewritten 10-kindnet.conflist'
}
