#!/bin/bash
# shell.sh NAME [COMMAND…]: a shell, or a command, on a machine of the cluster.
# shellcheck source=/dev/null
. "$(dirname "$0")/env.sh"
name=$1
shift
[ $# -gt 0 ] || set -- bash
inside "$name" "$@"
