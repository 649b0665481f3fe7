#!/bin/bash
# images.sh: images made by hand of busybox and of Weir's programs as they were built here; for Weir's own, WEIR_IMAGE may
# name an archive of the one that deploy/Dockerfile makes.
# shellcheck source=/dev/null
. "$(dirname "$0")/env.sh"
images=$STATE/images
mkdir -p "$images"

# pack NAME ROOT ENTRYPOINT…: an archive as `docker save` makes it, with one layer.
pack() {
  local name=$1 root=$2 parts digest entrypoint
  shift 2
  parts=$(mktemp --directory -p "$images")
  tar --owner=0 --group=0 --mtime=@0 --directory="$root" --create --file="$parts/layer.tar" .
  digest=$(sha256sum "$parts/layer.tar" | cut -d ' ' -f 1)
  entrypoint=$(jq --null-input --compact-output '$ARGS.positional' --args -- "$@")
  cat >"$parts/config.json" <<EOF
{"architecture": "$(dpkg --print-architecture)", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]},
 "config": {"Entrypoint": $entrypoint, "Env": ["PATH=/usr/local/bin:/bin"]}}
EOF
  echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$name\"], \"Layers\": [\"layer.tar\"]}]" >"$parts/manifest.json"
  tar --directory="$parts" --create --file="$images/$(basename "${name%:*}").tar" manifest.json config.json layer.tar
  rm -r "$parts" "$root"
}

# busybox ROOT: a root with busybox under all its names.
busybox_root() {
  local applet
  mkdir -p "$1/bin" "$1/etc" "$1/tmp" "$1/usr/local/bin" "$1/www"
  for applet in $(busybox --list); do ln -sf busybox "$1/bin/$applet"; done
  rm -f "$1/bin/busybox"
  cp --dereference "$(command -v busybox)" "$1/bin/busybox"
  echo hello >"$1/www/index.html"
}

# install ROOT PROGRAM…: programs with the libraries that they are linked with.
install_programs() {
  local root=$1 program library
  shift
  for program in "$@"; do
    cp "$program" "$root/usr/local/bin/"
    for library in $(ldd "$program" 2>/dev/null | grep --only-matching '/[^ ]*'); do
      mkdir -p "$root$(dirname "$library")"
      cp --dereference --no-clobber "$library" "$root$library"
    done
  done
}

root=$images/root
busybox_root "$root"
pack weir.test/busybox:1 "$root" /bin/sh
busybox_root "$root"
pack weir.test/pause:1 "$root" /bin/sleep 2147483647
busybox_root "$root"
install_programs "$root" "$WEIR_KUBE_TARGET/weir-standin"
pack weir.test/ztunnel:1 "$root" /usr/local/bin/weir-standin
if [ -n "${WEIR_IMAGE:-}" ]; then
  cp "$WEIR_IMAGE" "$images/weir.tar"
else
  busybox_root "$root"
  install_programs "$root" "$WEIR_KUBE_TARGET/weir" "$WEIR_KUBE_TARGET/weir-cni"
  pack docker.io/library/weir:0.1.0 "$root" /usr/local/bin/weir
fi
busybox_root "$root"
install_programs "$root" "$WEIR_KUBE_TARGET/weir-conformance"
pack weir.test/conformance:1 "$root" /usr/local/bin/weir-conformance
