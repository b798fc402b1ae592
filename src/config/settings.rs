//! Every setting, written once: name, type, default, what is allowed, names in other layers, documentation.
//!
//! A row is `field("name in the file"): Type = default, kind, env "…", prover "…", flag Command "--…";`. The name in the
//! file is the field's unless it is given; `prover` is the key in zkevm-prover's file. The comments are the documentation
//! of `config/default.toml` and of the fields.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use zkevm_types::CountersPolicy;

use super::kind::{Kind, integer, kib, mib, micros, one_of, seconds, whole_seconds};
use super::table::settings;
use super::{AggregatorProtocol, DatabaseUrl, EngineKind, Exact, LogFormat, StoreKind};

const PORT: Kind = integer(0, u16::MAX as i64);
/// 16 TiB.
const MIB_MAX: i64 = 1 << 24;
const DAY: f64 = 86_400.0;

settings! {
    /// The gRPC services of the executor and of statistics.
    [grpc] GrpcOptions {
        /// Address the gRPC services listen on, those of HashDB included.
        host: IpAddr = "0.0.0.0", Kind::Ip, env "ZKEVM_GRPC_HOST";
        /// Port, 0 for any free one.
        port: u16 = 50071, PORT, env "EXECUTOR_SERVER_PORT", prover "executorServerPort", flag Serve "--port";
    }

    /// Live page, /stats, /metrics, /healthz, /readyz, /debug/actors and /debug/batches.
    #[derive(Copy)]
    [http] HttpOptions {
        /// Address the HTTP pages listen on. They show inputs of all clients to everybody who reaches them: "0.0.0.0", every
        /// address of the machine, only where the network keeps others out, as in a container whose port is published so.
        host: IpAddr = "127.0.0.1", Kind::Ip, env "ZKEVM_HTTP_HOST", flag Serve "--http-host";
        /// Port of the HTTP pages, 0 for any free one.
        port: u16 = 9091, PORT, env "ZKEVM_HTTP_PORT", flag Serve "--http-port";
        /// Connections open at the same time; more are closed at once.
        connections: usize = 256, integer(1, 65_536), env "ZKEVM_HTTP_CONNECTIONS";
        /// Those of one address, of IPv6 one /64 network.
        connections_per_peer: usize = 64, integer(1, 65_536), env "ZKEVM_HTTP_CONNECTIONS_PER_PEER";
        /// Seconds a connection may take for the head of a request, and be silent between two.
        request("request_seconds"): Duration = 30.0, seconds(0.01, DAY), env "ZKEVM_HTTP_REQUEST_SECONDS";
        /// Seconds an answer may take to be made, and then to be taken by its reader, of /events each message; after that: 503,
        /// or the connection ends.
        answer("answer_seconds"): Duration = 30.0, seconds(0.01, DAY), env "ZKEVM_HTTP_ANSWER_SECONDS";
    }

    /// The HashDB service, and the one of another process in place of a store.
    [hashdb] HashDbOptions {
        /// Port of the HashDB service, on grpc.host; 0 for any free one.
        port: u16 = 50061, PORT, env "HASHDB_SERVER_PORT", prover "hashDBServerPort", flag Serve "--hashdb-port";
        /// Calls that run at the same time; others wait.
        threads: usize = 8, integer(1, 256), env "MAX_HASHDB_THREADS", prover "maxHashDBThreads";
        /// host:port of the HashDB service of another process of this kind, used in place of a store of its own; "local" is
        /// none. Of the section `store` these still count: cache_mib, backlog_mib, retries, retry_delay_us (doubled with each
        /// try) and timeout_seconds. While the service is away, writes wait and requests that need it get a database error.
        url: String = "local", Kind::Text, env "HASHDB_URL", prover "hashDBURL";
        /// ResetDB deletes all state; otherwise it is refused. For tests.
        allow_reset: bool = false, Kind::Bool, env "ZKEVM_HASHDB_ALLOW_RESET";
    }

    /// TLS of both gRPC ports, with PEM files; plaintext if the names are empty.
    [tls] TlsOptions {
        /// The server's certificate, then those up to its authority. Needs the key.
        cert: Option<PathBuf> = "", Kind::File, env "ZKEVM_TLS_CERT";
        /// Private key of the certificate.
        key: Option<PathBuf> = "", Kind::File, env "ZKEVM_TLS_KEY";
        /// Authorities of client certificates: clients without a certificate of theirs are refused (mutual TLS).
        client_ca: Option<PathBuf> = "", Kind::File, env "ZKEVM_TLS_CLIENT_CA";
    }

    /// What each gRPC port admits.
    #[derive(Copy)]
    [limits] LimitOptions {
        /// Connections open at the same time; more are closed at once.
        connections: usize = 4096, integer(1, 1 << 20), env "ZKEVM_LIMITS_CONNECTIONS";
        /// Those of one address, of IPv6 one /64 network, so that no peer takes every place. All clients behind one proxy are one
        /// peer.
        connections_per_peer: usize = 1024, integer(1, 1 << 20), env "ZKEVM_LIMITS_CONNECTIONS_PER_PEER";
        /// Seconds after which a connection without calls is ended: its peer is told (GOAWAY) and connects again with its next
        /// call; 0 is never.
        idle("idle_seconds"): Option<Duration> = 900.0, seconds(0.0, DAY), env "ZKEVM_LIMITS_IDLE_SECONDS";
        /// Calls one connection may have open; clients hold back more. Go clients multiplex all their calls over one.
        streams_per_connection: u32 = 1024, integer(1, 65_536), env "ZKEVM_LIMITS_STREAMS";
        /// KiB of headers of one call.
        header_bytes("header_kib"): u32 = 16, kib(1, 1024), env "ZKEVM_LIMITS_HEADER_KIB";
        /// MiB of one request, decompressed, and of one answer of HashDB. cdk-erigon's limit is 256 MiB.
        message_bytes("message_mib"): usize = 256, mib(1, 2047), env "ZKEVM_LIMITS_MESSAGE_MIB";
        /// MiB of one answer of the executor, whose traces can be large; a call whose answer would pass it gets
        /// RESOURCE_EXHAUSTED as soon as that shows.
        answer_bytes("answer_mib"): usize = 512, mib(1, 2047), env "ZKEVM_LIMITS_ANSWER_MIB";
        /// Seconds a client may take for its answer, and one more for each MiB of it; after that it is given up and its stream
        /// reset.
        answer("answer_seconds"): Duration = 30.0, seconds(0.01, DAY), env "ZKEVM_LIMITS_ANSWER_SECONDS";
        /// MiB of memory that one call may take for what it asks for: its request decoded, traces, results, state it reads, its
        /// answer until it is taken. A call that would pass it gets RESOURCE_EXHAUSTED.
        call_memory_bytes("call_memory_mib"): usize = 768, mib(1, MIB_MAX), env "ZKEVM_LIMITS_CALL_MEMORY_MIB";
        /// MiB of the same of all calls together.
        memory_bytes("memory_mib"): usize = 1024, mib(1, MIB_MAX), env "ZKEVM_LIMITS_MEMORY_MIB";
        /// MiB of all requests that are being received, on all ports together; a call that would pass it gets
        /// RESOURCE_EXHAUSTED. A single request is never too large for it.
        receive_bytes("receive_mib"): usize = 256, mib(1, MIB_MAX), env "ZKEVM_LIMITS_RECEIVE_MIB";
        /// Seconds a request may take from its headers to its last byte; after that: DEADLINE_EXCEEDED.
        receive("receive_seconds"): Duration = 30.0, seconds(0.01, DAY), env "ZKEVM_LIMITS_RECEIVE_SECONDS";
        /// Nodes of the witness of one ProcessStatelessBatchV2 request: branches, leaves and values, each about 300 bytes of
        /// memory. A larger witness is an invalid one.
        witness_nodes: usize = 4_194_304, integer(1, 1 << 30), env "ZKEVM_LIMITS_WITNESS_NODES";
        /// Seconds a new connection may take for TLS and the first bytes of HTTP/2.
        handshake("handshake_seconds"): Duration = 10.0, seconds(0.01, DAY), env "ZKEVM_LIMITS_HANDSHAKE_SECONDS";
        /// Seconds of silence after which a peer is pinged.
        keepalive("keepalive_seconds"): Duration = 60.0, seconds(0.01, DAY), env "ZKEVM_LIMITS_KEEPALIVE_SECONDS";
        /// Seconds the peer has to answer before the connection is closed.
        keepalive_timeout("keepalive_timeout_seconds"): Duration = 20.0, seconds(0.01, DAY),
            env "ZKEVM_LIMITS_KEEPALIVE_TIMEOUT_SECONDS";
    }

    /// The mock aggregator client: a prover whose proofs only a test verifier accepts. For test stacks.
    [aggregator] AggregatorOptions {
        /// Run it beside the server.
        enabled: bool = false, Kind::Bool, env "RUN_AGGREGATOR_CLIENT_MOCK", prover "runAggregatorClientMock";
        /// Name or address of the aggregator.
        host: String = "127.0.0.1", Kind::Text, env "AGGREGATOR_CLIENT_HOST", prover "aggregatorClientHost",
            flag Aggregator "--host";
        /// Port of the aggregator.
        port: u16 = 50081, PORT, env "AGGREGATOR_CLIENT_PORT", prover "aggregatorClientPort", flag Aggregator "--port";
        /// Microseconds a proof takes.
        proof_time("proof_time_us"): Duration = 60_000_000, micros(0, i64::MAX), env "AGGREGATOR_CLIENT_MOCK_TIMEOUT",
            prover "aggregatorClientMockTimeout", flag Aggregator "--proof-time-us";
        /// Fork id the prover claims; an aggregator closes the stream if it is not its chain's.
        fork_id: u64 = 9, integer(1, u32::MAX as i64), env "ZKEVM_AGGREGATOR_FORK_ID", flag Aggregator "--fork-id";
        /// The contract that the aggregator speaks: "v6", that of zkevm-prover up to v6.0.2 and of zkevm-node, or "v9", that of
        /// v6.0.8 to v9 and of cdk-node. They differ in requests for proofs of stateless batches, which only "v9" answers.
        protocol: AggregatorProtocol = "v6", one_of(AggregatorProtocol::NAMES), env "ZKEVM_AGGREGATOR_PROTOCOL",
            flag Aggregator "--protocol";
        /// Name the prover gives.
        prover_name: String = "UNSPECIFIED", Kind::Text, env "PROVER_NAME", prover "proverName",
            flag Aggregator "--prover-name";
    }

    /// Running batches, and waiting for it.
    [executor] ExecutorOptions {
        /// Largest block gas limit, 0 for that of each fork. The ROM of fork 7 has 2^64 − 1; chains of cdk-erigon use
        /// 1125899906842624 (2^50) there, which is that of later forks anyway.
        block_gas_limit_max: u64 = 0, integer(0, i64::MAX), env "ZKEVM_BLOCK_GAS_LIMIT_MAX";
        /// Executor actors, each a thread that runs one batch at a time; 0 is one per core.
        threads: usize = 0, integer(0, 1024), env "MAX_EXECUTOR_THREADS", prover "maxExecutorThreads", flag Serve "--threads";
        /// Batches that may wait for an executor; beyond that calls get RESOURCE_EXHAUSTED at once.
        queue_capacity: usize = 512, integer(1, 65_536), env "ZKEVM_QUEUE_CAPACITY", flag Serve "--queue-capacity";
        /// MiB of requests, as sent, that may wait for an executor; beyond that calls get RESOURCE_EXHAUSTED at once.
        queue_bytes_max("queue_mib"): usize = 256, mib(1, MIB_MAX), env "ZKEVM_QUEUE_MIB";
        /// Requests of at most this many bytes do not wait behind full batches: executors take them first, and one executor
        /// beside those of `threads` takes nothing else. 0 is one line for all and no such executor.
        small_batch_bytes_max("small_batch_bytes"): usize = 2048, integer(0, 1 << 20), env "ZKEVM_SMALL_BATCH_BYTES";
        /// Gas of all transactions of a request of that size that is taken for a short one, with no_counters a tenth of it. One
        /// that asks for a trace never is.
        small_batch_gas: u64 = 30_000_000, integer(0, i64::MAX), env "ZKEVM_SMALL_BATCH_GAS";
        /// Seconds one batch may run; after that: DEADLINE_EXCEEDED. 0 is for ever.
        batch_limit("batch_seconds"): Option<Duration> = 300.0, seconds(0.0, DAY), env "ZKEVM_BATCH_SECONDS";
        /// Threads that help running batches while cores are idle, recovering senders and hashing; never more than the idle
        /// cores. 0 for none.
        helpers: usize = 16, integer(0, 16), env "ZKEVM_HELPERS";
        /// Recover senders eight at a time where the processor has AVX-512 IFMA; else, and without this, libsecp256k1 does one
        /// after the other. At the start known signatures are recovered both ways; if they differ, this is off.
        eight_lane_recovery: bool = true, Kind::Bool, env "ZKEVM_EIGHT_LANE_RECOVERY";
        /// MiB in which batches that ran are remembered, so that one that begins with the same blocks runs only what is new: a
        /// sequencer of cdk-erigon sends the first 1, 2, 3, … blocks of each batch. The answer is the one that would be given
        /// anyway; a stateless batch still has to bring all that its blocks read. 0 is none.
        prefix_cache_bytes_max("prefix_cache_mib"): usize = 64, mib(0, MIB_MAX), env "ZKEVM_PREFIX_CACHE_MIB";
        /// Linux: niceness of the executors' threads, 0 to 19; the one for small requests stays at 0. With more than 0 small
        /// calls are answered a little sooner while all cores compute, but other programs of the machine get most of the cores.
        /// 20 is Linux' idle class: other programs get all they want. Inside a container only its own programs count.
        niceness: i32 = 0, integer(0, 20), env "ZKEVM_EXECUTOR_NICENESS";
        /// Seconds that admitted batches may take to finish after SIGTERM or ctrl-c.
        drain_limit("drain_seconds"): Duration = 30, whole_seconds(0, 3600), env "ZKEVM_DRAIN_SECONDS";
        /// Seconds after which a batch that still runs is reported in the log and counted; 0 is never.
        slow_after("slow_batch_seconds"): Option<Duration> = 10.0, seconds(0.0, DAY), env "ZKEVM_SLOW_BATCH_SECONDS";
    }

    /// What requests may do to the database.
    [database] DatabaseOptions {
        /// Refuse requests that set update_merkle_tree. Over PostgreSQL, which may be a replica then, a node that is not there
        /// is asked for again, as often as store.retries says.
        read_only: bool = false, Kind::Bool, env "DB_READ_ONLY", prover "dbReadOnly";
    }

    /// Where state lasts.
    [store] StoreOptions {
        /// "embedded": state of batches with update_merkle_tree lasts in a database in the folder below. "postgres": in the
        /// PostgreSQL database below, which any number of executors may share. "memory": all state ends with the process. If
        /// store.url is set and this is not, it is "postgres".
        kind: StoreKind = "embedded", one_of(StoreKind::NAMES), env "ZKEVM_STORE_KIND";
        /// Folder of the embedded database; made if it is not there. One process at a time.
        path: PathBuf = "data", Kind::Text, env "ZKEVM_STORE_PATH", flag Store "--data";
        /// MiB of nodes and programs of the database that are kept in memory as well.
        cache_bytes_max("cache_mib"): usize = 1024, mib(1, MIB_MAX), env "DB_MT_CACHE_SIZE", prover "dbMTCacheSize";
        /// MiB of state, estimated, that may wait for the database. Beyond this batches with update_merkle_tree wait for the
        /// database, and fail with a database error after 30 seconds.
        backlog_bytes_max("backlog_mib"): usize = 512, mib(1, MIB_MAX), env "ZKEVM_STORE_BACKLOG_MIB";
        /// The PostgreSQL database: schema and bytes are those of zkevm-prover. "local" is none. `?sslmode=` and
        /// `&sslrootcert=` at its end are those of PostgreSQL's clients: docs/storage.md.
        url: DatabaseUrl = "postgresql://prover_user@localhost:5432/prover_db", Kind::Text, env "DATABASE_URL",
            prover "databaseURL";
        /// Make schema and tables in PostgreSQL if they are missing; without this a database without them is refused.
        init: bool = false, Kind::Bool, env "ZKEVM_STORE_INIT", flag Store "--init-db";
        /// Connections to PostgreSQL; made when needed.
        connections: usize = 30, integer(1, 1000), env "DB_NUMBER_OF_POOL_CONNECTIONS", prover "dbNumberOfPoolConnections";
        /// How often a read that failed is tried again; after that the request gets a database error. Writes are tried until
        /// they succeed.
        retries: u32 = 10, integer(0, 1000), env "DB_READ_RETRY_COUNTER", prover "dbReadRetryCounter";
        /// Microseconds from a failed read to the next try.
        retry_after("retry_delay_us"): Duration = 100_000, micros(0, 60_000_000), env "DB_READ_RETRY_DELAY",
            prover "dbReadRetryDelay";
        /// Seconds connecting or one statement may take, and all tries of one read together.
        timeout("timeout_seconds"): Duration = 30, whole_seconds(1, 3600), env "ZKEVM_STORE_TIMEOUT_SECONDS";
        /// Table of nodes, with its schema.
        nodes_table: String = "state.nodes", Kind::Text, env "DB_NODES_TABLE_NAME", prover "dbNodesTableName";
        /// Table of programs, with its schema.
        program_table: String = "state.program", Kind::Text, env "DB_PROGRAM_TABLE_NAME", prover "dbProgramTableName";
    }

    /// State that lives in this process. Sizes are estimates of what the entries take.
    #[derive(Copy)]
    [state] StateOptions {
        /// MiB of state of batches with update_merkle_tree where store.kind is "memory", and of what their requests brought
        /// along; kept until the process ends. A batch that would pass this gets RESOURCE_EXHAUSTED; batches without
        /// update_merkle_tree go on.
        permanent_bytes_max("permanent_mib"): usize = 8192, mib(1, MIB_MAX), env "ZKEVM_STATE_PERMANENT_MIB";
        /// MiB of the same of batches without update_merkle_tree, whatever the kind: given up oldest first beyond this.
        volatile_bytes_max("volatile_mib"): usize = 512, mib(1, MIB_MAX), env "ZKEVM_STATE_VOLATILE_MIB";
    }

    /// What runs a batch: docs/engines.md.
    [engine] EngineOptions {
        /// "native": the native engine answers, and the machine below only as `exact` says. "rom": the machine that runs the ROM
        /// of the batch's fork; forks without a ROM are refused. "both": both run, differences are counted and logged, and the
        /// machine's answer goes out.
        kind: EngineKind = "native", one_of(EngineKind::NAMES), env "ZKEVM_ENGINE_KIND", flag Serve "--engine";
        /// Folder with the ROM files of the forks, under the names they have in the prover's image; empty for none. They are read
        /// at the start.
        rom_dir: Option<PathBuf> = "", Kind::File, env "ZKEVM_ROM_DIR", flag Serve "--rom-dir";
        /// When the machine is asked although the native engine answers, for the forks whose ROM is there; its answer goes out
        /// then. "never". "near_limit": when a bound of the native engine is near a limit of the ROM. "always".
        exact: Exact = "near_limit", one_of(Exact::NAMES), env "ZKEVM_ENGINE_EXACT";
        /// Native code takes the place of those lines of a ROM whose content is known. No answer differs; without it the machine
        /// takes longer.
        intrinsics: bool = true, Kind::Bool, env "ZKEVM_ENGINE_INTRINSICS";
    }

    /// Stateless batches.
    #[derive(Copy)]
    [stateless] StatelessOptions {
        /// What a stateless batch brings and makes goes into the store, where other batches can read it. Otherwise nothing
        /// does; a stateless batch itself reads what it brings and nothing else, in either case.
        keep: bool = false, Kind::Bool, env "ZKEVM_STATELESS_KEEP";
        /// MiB in which hashes of leaves, branches and programs of witnesses are remembered: the witnesses of one batch that is
        /// sent block by block are much the same. 0 is none.
        witness_memo_bytes_max("witness_memo_mib"): usize = 64, mib(0, MIB_MAX), env "ZKEVM_WITNESS_MEMO_MIB";
    }

    /// The zk counters of a batch.
    #[derive(Copy)]
    [counters] CountersOptions {
        /// What a batch is answered whose zk counters pass the limits of the proof. "enforce": that it ran out of counters,
        /// and nothing of it stays; its work ends there. "report": its regular answer; the numbers tell. Steps, arithmetics,
        /// binaries and mem-aligns are upper bounds and count from twice their limit on: see docs/counters.md.
        policy: CountersPolicy = "enforce", one_of(CountersPolicy::NAMES), env "ZKEVM_COUNTERS_POLICY";
    }

    /// Statistics.
    #[derive(Copy)]
    [stats] StatsOptions {
        /// Length of a statistics window in seconds.
        window("window_seconds"): Duration = 10.0, seconds(0.05, 3600.0), env "ZKEVM_STATS_WINDOW_SECONDS";
        /// MiB of inputs, as sent, that are kept of the slowest batches of the last ten minutes, for download at the HTTP
        /// port; 0 keeps none.
        slowest_input_bytes_max("slowest_inputs_mib"): usize = 16, mib(0, MIB_MAX), env "ZKEVM_STATS_SLOWEST_INPUTS_MIB";
    }

    /// Files of single requests. docs/operations.md says what is in them.
    [files] FileOptions {
        /// Folder of all files; made when the first one is written.
        output_path: PathBuf = "output", Kind::Text, env "OUTPUT_PATH", prover "outputPath";
        /// A folder per hour below it: YYYY/MM/DD/HH.
        subfolders: bool = false, Kind::Bool, env "SAVE_FILES_IN_SUBFOLDERS", prover "saveFilesInSubfolders";
        /// Requests as text, invalid ones included; with the mock aggregator client, its requests too.
        requests("save_request"): bool = false, Kind::Bool, env "SAVE_REQUESTS_TO_FILE", prover "saveRequestToFile";
        /// Valid inputs as JSON, before they run.
        inputs("save_input"): bool = false, Kind::Bool, env "SAVE_INPUT_TO_FILE", prover "saveInputToFile";
        /// Inputs with everything the batch read: `process` replays them.
        db_reads("save_db_reads"): bool = false, Kind::Bool, env "SAVE_DB_READS_TO_FILE", prover "saveDbReadsToFile";
        /// The same, rewritten while the batch runs.
        db_reads_on_change("save_db_reads_on_change"): bool = false, Kind::Bool, env "SAVE_DB_READS_TO_FILE_ON_CHANGE",
            prover "saveDbReadsToFileOnChange";
        /// Responses as text; with the mock aggregator client, its answers too.
        responses("save_response"): bool = false, Kind::Bool, env "SAVE_RESPONSE_TO_FILE", prover "saveResponseToFile";
    }

    /// Spans of the calls that bring batches, with a child per phase, for a collector of OpenTelemetry: OTLP over gRPC.
    [trace] SpanOptions {
        /// The collector, like `http://host:4317`; empty for no spans.
        otlp_url: String = "", Kind::HttpUrl, env "ZKEVM_TRACE_OTLP_URL";
        /// Name of this service in the spans.
        service_name: String = "zkevm-executor", Kind::Text, env "ZKEVM_TRACE_SERVICE_NAME";
        /// Share of the calls that are traced. If a caller sends traceparent, that decides for its call.
        sample_ratio: f64 = 1.0, Kind::Float { min: 0.0, max: 1.0 }, env "ZKEVM_TRACE_SAMPLE_RATIO";
    }

    /// The log: the form of its lines, and which there are beside the one per batch.
    #[derive(Copy)]
    [log] LogOptions {
        /// Outer form of a line: "native" is this program's own, "prover" that of zkevm-prover, with errors on stderr. A file
        /// of zkevm-prover sets "prover".
        format: LogFormat = "native", one_of(LogFormat::NAMES), env "ZKEVM_LOG_FORMAT";
        /// One JSON object per line instead of text.
        json: bool = false, Kind::Bool, env "JSON_LOGS", prover "jsonLogs";
        /// Least severe level that is logged.
        level: tracing::Level = "info", one_of(&["error", "warn", "info", "debug", "trace"]), env "ZKEVM_LOG_LEVEL";
        /// KiB of one line; a longer one is cut, and says so.
        line_bytes_max("line_kib"): usize = 4096, kib(1, 1 << 20), env "ZKEVM_LOG_LINE_KIB";
        /// MiB of lines that may wait until the log is read; beyond that lines are dropped and counted.
        queue_bytes_max("queue_mib"): usize = 16, mib(1, MIB_MAX), env "ZKEVM_LOG_QUEUE_MIB";
        /// Warnings and errors of one place in the program that are written in ten seconds; more are counted, and a line says how
        /// many there were. 0 writes all.
        repeats_max("repeats"): u64 = 20, integer(0, 1 << 32), env "ZKEVM_LOG_REPEATS";
        /// A line for every valid call ("got") and one for its answer ("returns"), the latter with every transaction.
        calls("server_calls"): bool = false, Kind::Bool, env "ZKEVM_LOG_SERVER_CALLS";
        /// Every transaction in the second of these lines.
        txs("server_txs"): bool = true, Kind::Bool, env "LOG_EXECUTOR_SERVER_TXS", prover "logExecutorServerTxs";
        /// The input of every batch as JSON, before it runs.
        input("server_input"): bool = false, Kind::Bool, env "LOG_EXECUTOR_SERVER_INPUT", prover "logExecutorServerInput";
        /// The same with the name of the call, and ' for ".
        input_json("server_input_json"): bool = false, Kind::Bool, env "LOG_EXECUTOR_SERVER_INPUT_JSON",
            prover "logExecutorServerInputJson";
        /// Without server_input: the input of batches at fewer gas per second than this, 0 for none.
        input_gas_threshold("server_input_gas_threshold"): f64 = 0.0, Kind::Float { min: 0.0, max: 1e18 },
            env "LOG_EXECUTOR_SERVER_INPUT_GAS_THRESHOLD", prover "logExecutorServerInputGasThreshold";
        /// Every response as text.
        responses("server_responses"): bool = false, Kind::Bool, env "LOG_EXECUTOR_SERVER_RESPONSES",
            prover "logExecutorServerResponses";
    }
}
