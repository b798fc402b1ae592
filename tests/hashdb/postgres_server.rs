//! A PostgreSQL server of the test's own: a new data folder, a free port, gone at the end.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use zkevm_testkit::skip;

/// A server that can be stopped and started.
pub(crate) struct PostgresServer {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    /// PostgreSQL refuses to run as root.
    user: Option<(u32, u32)>,
    running: Option<Child>,
    /// Whether a commit waits for the disk. Tests kill processes, not machines.
    synced: bool,
    /// Whether there are a certificate and a key in the data folder, and clients must use TLS.
    tls: bool,
}

impl PostgresServer {
    /// Starts a server; `None`, said loudly, if PostgreSQL is not installed here.
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::start_with(test, false)
    }

    /// The same with commits that wait for the disk, as in production. For the bench, which shares this file.
    #[allow(dead_code)]
    pub(crate) fn start_synced(test: &str) -> Option<Self> {
        Self::start_with(test, true)
    }

    fn start_with(test: &str, synced: bool) -> Option<Self> {
        let Some(programs) = programs() else {
            skip::missing_tool(&format!("{test}: no initdb and postgres (Debian's package postgresql)"));
            return None;
        };
        let folder = tempfile::Builder::new().prefix("zkevm-postgres").tempdir_in("/tmp").unwrap();
        let user = user_if_root();
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { programs, folder, port, user, running: None, synced, tls: false };
        let mut init = server.command("initdb");
        init.args(["--username=prover_user", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"]);
        let output = init.arg(server.data()).output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        server.up();
        Some(server)
    }

    /// Starts again, with this certificate and key in PEM, for clients with TLS only.
    #[allow(dead_code)]
    pub(crate) fn with_tls(&mut self, certificate: &str, key: &str) {
        self.down();
        let no_plain = "hostssl all all 127.0.0.1/32 trust\n";
        for (name, content) in [("server.crt", certificate), ("server.key", key), ("pg_hba.conf", no_plain)] {
            let path = self.data().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((uid, gid)) = self.user {
                chown(&path, Some(uid), Some(gid)).unwrap();
            }
        }
        self.tls = true;
        self.up();
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql://prover_user:secret@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn up(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        let fsync = if self.synced { "fsync=on" } else { "fsync=off" };
        command.args(["-c", fsync, "-c", "max_connections=60", "-c", "shared_buffers=32MB"]);
        command.args(["-c", if self.tls { "ssl=on" } else { "ssl=off" }]);
        self.running = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let limit = Instant::now() + Duration::from_secs(30);
        while !answers(&self.url()) {
            assert!(Instant::now() < limit, "PostgreSQL does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server at once, as a crash would.
    pub(crate) fn down(&mut self) {
        if let Some(mut child) = self.running.take() {
            // SIGQUIT: an immediate shutdown, children included.
            let _ = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
            let limit = Instant::now() + Duration::from_secs(10);
            while child.try_wait().unwrap().is_none() {
                if Instant::now() > limit {
                    let _ = child.kill();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// A plain connection, to look at the tables.
    pub(crate) async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.down();
    }
}

/// Tries to connect, on a thread that drives no other runtime. A server that refuses this client is up as well.
fn answers(url: &str) -> bool {
    let connect = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let refused =
            |error: tokio_postgres::Error| error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
        runtime.block_on(tokio_postgres::connect(url, NoTls)).map_or_else(refused, |_| true)
    };
    std::thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

/// The folder that holds both programs: the newest of Debian's, or one of the path.
fn programs() -> Option<PathBuf> {
    let has_both = |folder: &Path| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    debian.sort();
    debian.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian.into_iter().chain(std::env::split_paths(&path)).find(|folder| has_both(folder))
}

/// Another user to run as, if this is root.
fn user_if_root() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let uid = fs::metadata("/proc/self").ok()?.uid();
    if uid != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}
