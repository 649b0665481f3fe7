#!/bin/bash
# stop.sh NAME: ends a machine as a power cut would; its disk stays.
# shellcheck source=/dev/null
. "$(dirname "$0")/env.sh"
name=$1
pid=$(cat "$STATE/$name.init" 2>/dev/null) || exit 0
rm -f "$STATE/$name.init"
kill -KILL "$pid" 2>/dev/null || true
gone() { [ ! -e "/proc/$pid" ]; }
wait_for 30 "the end of $name" gone
# Empty by now, as all their processes lived in the machine.
for hierarchy in /sys/fs/cgroup/*/; do
  [ ! -d "$hierarchy$name" ] || find "$hierarchy$name" -depth -type d -exec rmdir {} + 2>/dev/null || true
done
