# Sourced: starts a release server with a fresh database on $port, and stops it when the script ends.
# Sets binary, data (request files), call, ghz and server (its process). Without ghz the script ends here, loudly.

data=target/ghz
binary=target/release/zkevm-executor
call=executor.v1.ExecutorService.ProcessBatchV2
ghz=$(command -v ghz || echo "$(go env GOPATH 2>/dev/null)/bin/ghz")
[ -x "$ghz" ] || { echo "SKIPPED: ghz is not installed (tests/load/README.md)" >&2; exit 0; }

[ -x "$binary" ] || cargo build --release
"$binary" load export-ghz "$data" >/dev/null

state=$(mktemp -d)
# The files hold few batches and ghz repeats them: a remembered one would not run, nor most of a full one, which is more than can
# be proven.
"$binary" serve --port "$port" --http-port 0 --hashdb-port 0 --data "$state" --set log.level=error \
    --set executor.prefix_cache_mib=0 --set counters.policy=report &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$state"' EXIT
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
done

send() { "$ghz" --insecure --call "$call" "$@" "127.0.0.1:$port"; }
