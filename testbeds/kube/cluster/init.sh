#!/bin/bash
# init.sh NAME: process 1 of a machine. The paths that all nodes have are this one's own.
# shellcheck source=/dev/null
. "$(dirname "$0")/env.sh"
name=$1
own=$STATE/$name
mkdir -p /etc/cni/net.d /opt/cni/bin /var/log/pods /var/log/containers /var/lib/kubelet /var/lib/containerd
mkdir -p "$own"/{kubelet,containerd,pods,containers,cni-conf,cni-bin,cgroup}
cp --no-clobber /usr/lib/cni/* "$own/cni-bin/"

# The file of host names and the like stay the machine's; so do cgroups, which have one parent per node.
mount --rbind /sys/fs/cgroup "$own/cgroup"
umount --lazy /sys
mount -t sysfs sysfs /sys
mount --rbind "$own/cgroup" /sys/fs/cgroup
umount --recursive --lazy "$own/cgroup"
mount -t bpf bpf /sys/fs/bpf
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/containerd /run/lock
mount --bind "$own/kubelet" /var/lib/kubelet
mount --bind "$own/containerd" /var/lib/containerd
mount --bind "$own/pods" /var/log/pods
mount --bind "$own/containers" /var/log/containers
mount --bind "$own/cni-conf" /etc/cni/net.d
mount --bind "$own/cni-bin" /opt/cni/bin
# As systemd does: what is mounted here is seen in containers that ask for it.
mount --make-rshared /
ip link set lo up
touch "$STATE/$name.ready"
# Process 1 reaps what others leave.
trap 'exit 0' TERM
while :; do
  sleep infinity &
  wait -n || true
done
