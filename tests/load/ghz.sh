#!/usr/bin/env bash
# Generates the request files, starts a release server on a free port and runs ghz with 1, 16 and 256 callers.
# Usage: tests/load/ghz.sh [FILE…]      files of the data folder; default transfers.json token-transfers.json
set -euo pipefail
cd "$(dirname "$0")/../.."

files=("$@")
[ ${#files[@]} -gt 0 ] || files=(transfers.json token-transfers.json)
port=${PORT:-50171}
. tests/load/server.sh

echo "== genesis"
send -n 1 -c 1 -D "$data/genesis.json" | sed -n '/Status code/,$p'
for file in "${files[@]}"; do
    for callers in 1 16 256; do
        echo "== $file, $callers callers"
        send -c "$callers" -n $((callers == 1 ? 500 : 2048)) -D "$data/$file"
    done
done
