#!/usr/bin/env bash
# Memory of a release server: idle, with 16 full batches in flight, and afterwards. Needs ghz, and Linux's /proc.
# Usage: tests/load/memory.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

port=${PORT:-50172}
data=target/ghz
binary=target/release/zkevm-executor
call=executor.v1.ExecutorService.ProcessBatchV2
ghz=$(command -v ghz || echo "$(go env GOPATH)/bin/ghz")

[ -x "$binary" ] || cargo build --release
"$binary" load export-ghz "$data" >/dev/null

state=$(mktemp -d)
"$binary" serve --port "$port" --http-port 0 --hashdb-port 0 --data "$state" --set log.level=error &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$state"' EXIT
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
done

memory() { awk -v what="$1" '/^Vm(RSS|HWM):/ { line = line sprintf("  %s %d MiB", $1, $2 / 1024) } END { print what line }' "/proc/$server/status"; }
send() { "$ghz" --insecure --call "$call" "$@" "127.0.0.1:$port"; }

sleep 1
memory "idle                        "
send -n 1 -c 1 -D "$data/genesis.json" >/dev/null
memory "with the genesis            "
send -n 480 -c 16 -D "$data/transfers-730.json" | grep -E 'Requests/sec|\[OK\]|\[[A-Z]'
memory "after 16 at a time, 480 full"
sleep 5
memory "5 s later                   "
