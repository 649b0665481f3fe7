#!/bin/sh
# Builds the first file system of a guest: busybox, `init.sh`, and the modules that reach the host's files.
# Usage: initramfs.sh KERNEL_DIRECTORY RELEASE OUTPUT
set -eu
kernel=$1 release=$2 output=$3
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

mkdir -p "$tree/bin" "$tree/modules"
cp "$(command -v busybox)" "$tree/bin/busybox"
install -m 755 "$here/init.sh" "$tree/init"
cp "$here/stage2" "$tree/stage2"

# A module's dependencies are listed before it; what is built in has another first word.
for module in virtio_pci 9pnet_virtio 9p overlay; do
    modprobe --dirname "$kernel" --set-version "$release" --show-depends "$module"
done > "$tree/depends"
awk '$1 == "insmod" && !seen[$2]++ { print $2 }' "$tree/depends" > "$tree/paths"
number=100
while read -r path; do
    number=$((number + 1))
    case $path in
    *.xz) xz --decompress --stdout "$path" ;;
    *.zst) zstd --quiet --decompress --stdout "$path" ;;
    *) cat "$path" ;;
    esac > "$tree/modules/$number.ko"
done < "$tree/paths"

(cd "$tree" && find . | cpio --create --format=newc --quiet) > "$output"
