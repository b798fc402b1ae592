#!/usr/bin/env bash
# Generates the request files, starts a release server on a free port and runs ghz with 1, 16 and 256 callers.
# Usage: tests/load/ghz.sh [FILE…]      files of the data folder; default transfers.json token-transfers.json
set -euo pipefail
cd "$(dirname "$0")/../.."

port=${PORT:-50171}
data=target/ghz
binary=target/release/zkevm-executor
call=executor.v1.ExecutorService.ProcessBatchV2
ghz=$(command -v ghz || echo "$(go env GOPATH 2>/dev/null)/bin/ghz")
[ -x "$ghz" ] || { echo "SKIPPED: ghz is not installed (tests/load/README.md)" >&2; exit 0; }
files=("$@")
[ ${#files[@]} -gt 0 ] || files=(transfers.json token-transfers.json)

[ -x "$binary" ] || cargo build --release
"$binary" load export-ghz "$data"

state=$(mktemp -d)
"$binary" serve --port "$port" --http-port 0 --hashdb-port 0 --data "$state" --set log.level=error &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$state"' EXIT
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
done

run() { "$ghz" --insecure --call "$call" "$@" "127.0.0.1:$port"; }

echo "== genesis"
run -n 1 -c 1 -D "$data/genesis.json" | sed -n '/Status code/,$p'
for file in "${files[@]}"; do
    for callers in 1 16 256; do
        echo "== $file, $callers callers"
        run -c "$callers" -n $((callers == 1 ? 500 : 2048)) -D "$data/$file"
    done
done
