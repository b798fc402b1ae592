//! The binary as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tonic::transport::Channel;
use zkevm_wire::proto::stats::v1::stats_service_client::StatsServiceClient;
use zkevm_wire::proto::stats::v1::{GetStatsRequest, GetStatsResponse};

/// Time a process has to say where it listens, also on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running binary.
pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Address of the gRPC services.
    pub(crate) grpc: SocketAddr,
    /// Address of the HTTP pages.
    pub(crate) http: SocketAddr,
}

impl Process {
    /// Returns the command of the binary. `ZKEVM_TEST_BINARY` names another one than that of the tests, such as a release build.
    pub(crate) fn binary() -> Command {
        let own = || env!("CARGO_BIN_EXE_zkevm-executor").into();
        Command::new(std::env::var_os("ZKEVM_TEST_BINARY").unwrap_or_else(own))
    }

    /// Starts `command`, a `serve` on free ports with its state in memory, and waits until it listens.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_over_state(command.arg("--set=store.kind=memory"))
    }

    /// The same with the state where the command says.
    pub(crate) fn start_over_state(command: &mut Command) -> Self {
        command.args(["--port=0", "--http-port=0", "--hashdb-port=0"]);
        command.args(["--set=grpc.host=127.0.0.1", "--set=http.host=127.0.0.1"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        // Both are read to their end, or the process would wait for a reader at some log line.
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        for output in [Box::new(stdout) as Box<dyn std::io::Read + Send>, Box::new(stderr)] {
            let lines = Arc::clone(&lines);
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    lines.lock().unwrap().push(line);
                }
            });
        }
        let address = |door: &str| {
            let lines = lines.lock().unwrap();
            // In JSON a quotation mark follows.
            let of_line = |line: &String| line.split_once(door)?.1.split('"').next()?.trim().parse::<SocketAddr>().ok();
            lines.iter().find_map(of_line)
        };
        let started = Instant::now();
        let (grpc, http) = loop {
            let addresses = (address("executor server listening on "), address("statistics server listening on "));
            if let (Some(grpc), Some(http)) = addresses {
                break (grpc, http);
            }
            assert!(started.elapsed() < START_LIMIT, "the server does not say where it listens: {lines:?}");
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { child, lines, grpc, http }
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn stats(&self) -> GetStatsResponse {
        let mut client = StatsServiceClient::new(self.channel().await);
        client.get_stats(GetStatsRequest { history_windows: 0 }).await.unwrap().into_inner()
    }

    /// True if a line with this text was written.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// Returns what was written so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Returns its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap();
    }

    /// True once it has ended.
    // Only tests/hostile asks.
    #[allow(dead_code)]
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Resident memory, where the system tells it.
    pub(crate) fn resident_mib(&self) -> Option<u64> {
        resident_mib(self.id())
    }
}

/// Resident memory of a process, where the system tells it.
pub(crate) fn resident_mib(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
