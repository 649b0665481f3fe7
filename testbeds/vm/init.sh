#!/bin/busybox sh
# shellcheck shell=sh
# First process of a guest: takes the host's root file system for its own, and never writes to it.
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /host /writes /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

die() {
    echo "init: $*"
    poweroff -f
}

share() {
    mount -t 9p -o "$3,trans=virtio,version=9p2000.L,msize=512000" "$1" "$2" || die "cannot mount $1"
}

for module in /modules/*.ko; do
    insmod "$module" || die "cannot load $module"
done
share root /host ro,cache=loose
mount -t tmpfs -o size=75% tmpfs /writes
mkdir /writes/upper /writes/work
mount -t overlay -o lowerdir=/host,upperdir=/writes/upper,workdir=/writes/work overlay /root || die "no overlay"

cd /root || die "no root"
mkdir -p proc sys dev run tmp lib/modules
mount --move /proc proc
mount --move /sys sys
mount --move /dev dev
mkdir -p dev/pts dev/shm
mount -t devpts devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs tmpfs run
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tracefs tracefs sys/kernel/tracing
share modules lib/modules ro,cache=loose
mkdir run/vm
share run run/vm rw
cp /bin/busybox run/busybox
cp /stage2 run/stage2
exec switch_root /root /run/busybox sh /run/stage2
