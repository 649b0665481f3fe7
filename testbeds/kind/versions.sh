# shellcheck shell=sh disable=SC2034  # read by the scripts beside it
# What the matrix is run with; raise one at a time.
KIND_NODE=kindest/node:v1.35.0
ISTIO=1.30.0
CALICO=v3.31.0
CILIUM=1.19.0
CNI_PLUGINS=v1.9.0
FLANNEL=v0.27.4
MULTUS=v4.2.3
