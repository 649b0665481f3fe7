#!/bin/bash
# down.sh [keep]: ends the cluster and removes what it left; with "keep" the logs stay.
# shellcheck source=/dev/null
. "$(dirname "$0")/env.sh"
for file in "$STATE"/*.init; do
  [ ! -e "$file" ] || "$HERE/stop.sh" "$(basename "$file" .init)"
done
ip link del "$UPLINK" 2>/dev/null || true
if [ "${1:-}" = keep ]; then
  echo "logs are in $STATE" >&2
else
  rm -rf --one-file-system "$STATE"
fi
