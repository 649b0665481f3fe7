#!/bin/bash
# machine.sh NAME: makes a machine: a process with network, mount, PID and cgroup namespaces of its own.
# When that process ends the kernel takes all that ran in them, and all their mounts and interfaces.
# shellcheck source=/dev/null
. "$(dirname "$0")/env.sh"
name=$1
mkdir -p "$STATE/$name"
[ ! -e /sys/fs/cgroup/cgroup.controllers ] ||
  die "this needs cgroup v1 beside v2 (hybrid): the kubelet of Kubernetes 1.20 cannot do with v2 alone"

# Parents for the node's pods in every hierarchy, so that two kubelets do not take each other's for garbage.
for hierarchy in /sys/fs/cgroup/*/; do
  mkdir -p "$hierarchy$name"
  case $hierarchy in
  */cpuset/)
    cat "$hierarchy/cpuset.cpus" >"$hierarchy$name/cpuset.cpus"
    cat "$hierarchy/cpuset.mems" >"$hierarchy$name/cpuset.mems"
    ;;
  esac
done

rm -f "$STATE/$name.ready"
setsid unshare --net --mount --pid --fork --propagation private \
  "$HERE/init.sh" "$name" </dev/null >"$STATE/$name-init.log" 2>&1 &
outer=$!
wait_for 20 "machine $name" test -e "$STATE/$name.ready"
# unshare forks, because the PID namespace begins with its child.
pgrep --parent "$outer" >"$STATE/$name.init"
