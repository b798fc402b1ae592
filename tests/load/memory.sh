#!/usr/bin/env bash
# Memory of a release server: idle, with 16 full batches in flight, and afterwards. Needs ghz, and Linux's /proc.
# Usage: tests/load/memory.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

port=${PORT:-50172}
. tests/load/server.sh

memory() { awk -v what="$1" '/^Vm(RSS|HWM):/ { line = line sprintf("  %s %d MiB", $1, $2 / 1024) } END { print what line }' "/proc/$server/status"; }

sleep 1
memory "idle                        "
send -n 1 -c 1 -D "$data/genesis.json" >/dev/null
memory "with the genesis            "
send -n 480 -c 16 -D "$data/transfers-730.json" | grep -E 'Requests/sec|\[OK\]|\[[A-Z]'
memory "after 16 at a time, 480 full"
sleep 5
memory "5 s later                   "
