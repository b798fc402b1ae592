#!/usr/bin/env bash
# Generates a Python client from proto/ with its own tools and runs the program of docs/clients.md against a server.
#
#   tests/clients/run.sh [BINARY]          BINARY: default target/debug/zkevm-executor
#
# PYTHON: an interpreter that has grpcio-tools; without it a virtual environment is made and grpcio-tools installed there.
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=${1:-target/debug/zkevm-executor}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

python=${PYTHON:-python3}
if ! "$python" -c 'import grpc_tools' 2>/dev/null; then
    "$python" -m venv "$work/venv"
    python=$work/venv/bin/python
    "$python" -m pip install --quiet grpcio grpcio-tools
fi

"$python" -m grpc_tools.protoc -I proto --python_out="$work" --grpc_python_out="$work" executor.proto stats.proto
sed -n '/^```python$/,/^```$/p' docs/clients.md | sed '/^```/d' > "$work/quickstart.py"

"$binary" serve --port 0 --hashdb-port 0 --http-port 0 --set grpc.host=127.0.0.1 --set http.host=127.0.0.1 \
    --set store.kind=memory > "$work/server.log" &
server=$!
address=
for _ in $(seq 100); do
    address=$(sed -n 's/.*executor server listening on \([0-9.:]*\).*/\1/p' "$work/server.log")
    [ -z "$address" ] || break
    sleep 0.1
done
[ -n "$address" ] || { echo "the server did not start:" >&2; cat "$work/server.log" >&2; exit 1; }

"$binary" health "$address"
"$python" "$work/quickstart.py" "$address"
kill -TERM "$server"
wait "$server"
server=
echo "the quick-start of docs/clients.md works"
