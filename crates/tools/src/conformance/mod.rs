//! `conformance`: replays public vectors and recorded answers and says what differs.
//!
//! Two modes. `conformance DIR…` executes every executor-input below DIR and compares roots (`files`);
//! `conformance --golden DIR…` replays recorded requests and compares whole answers field by field (`golden`).

mod answer;
mod compare;
mod fields;
mod files;
mod golden;
mod parallel;
mod short_rlp;
mod summary;

use std::path::PathBuf;

use zkevm_types::CountersPolicy;

use crate::engine::EngineArgs;

/// Arguments of `conformance`.
#[derive(Clone, Debug, clap::Args)]
pub struct ConformanceArgs {
    /// Folders (or files) with executor-input vectors; with `--golden`, folders of recorded answers.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Replay recorded requests and compare every field of the answers.
    #[arg(long)]
    pub golden: bool,
    /// Recorded answers of the vectors; they win over a vector's own result. Default: `../golden/vectors` beside the
    /// pack, if it is there.
    #[arg(long, value_name = "DIR", conflicts_with = "golden")]
    pub golden_answers: Option<PathBuf>,
    /// Ignore recorded answers.
    #[arg(long, conflicts_with_all = ["golden", "golden_answers"])]
    pub no_golden_answers: bool,
    /// Only cases of this fork id; may be repeated.
    #[arg(long = "fork", value_name = "N")]
    pub forks: Vec<u64>,
    /// Only cases whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Only recordings of this variant.
    #[arg(long, value_name = "NAME", requires = "golden")]
    pub variant: Option<String>,
    /// Ask a running server over gRPC instead of the engine in this process.
    #[arg(long, value_name = "ADDR", requires = "golden")]
    pub server: Option<String>,
    /// Requests under way at once with `--server`.
    #[arg(long, value_name = "N", default_value_t = 16, requires = "server", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub in_flight: u16,
    /// The answer to a batch whose zk counters pass the limits; with `--server` the server decides.
    #[arg(long, value_enum, default_value_t, requires = "golden", conflicts_with = "server")]
    pub counters: Counters,
    /// The engine in this process.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Only every N-th of the selected cases: a quick look.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub every: u32,
    /// Threads; default one per core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Differences to print per field.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub examples: usize,
    /// Print every difference of every case.
    #[arg(long)]
    pub all: bool,
    /// Write the whole result as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// Policies of `--counters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Counters {
    /// The regular answer.
    #[default]
    Report,
    /// Out of counters.
    Enforce,
}

impl Counters {
    fn policy(self) -> CountersPolicy {
        match self {
            Self::Report => CountersPolicy::Report,
            Self::Enforce => CountersPolicy::Enforce,
        }
    }
}

impl ConformanceArgs {
    fn selects_fork(&self, fork_id: u64) -> bool {
        self.forks.is_empty() || self.forks.contains(&fork_id)
    }

    fn selects_name(&self, name: &str) -> bool {
        self.name.as_deref().is_none_or(|text| name.contains(text))
    }

    /// Thins the selected cases out.
    fn sample<T>(&self, cases: Vec<T>) -> Vec<T> {
        cases.into_iter().step_by(self.every as usize).collect()
    }

    fn thread_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.map_or_else(cores, usize::from)
    }
}

/// Why a run ended before it had a result.
#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    /// A vector or recording cannot be read.
    #[error(transparent)]
    Vector(#[from] zkevm_testkit::vectors::VectorError),
    /// The ROM files cannot be used.
    #[error(transparent)]
    Roms(#[from] zkevm_rom::RomsError),
    /// The filters leave nothing.
    #[error("nothing to run: no case below the given folders matches the filters")]
    Nothing,
    /// The comparison was made, and something differs.
    #[error("not all answers are as expected")]
    Differs,
    /// The report cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Report {
        /// Where to.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The server cannot be reached.
    #[error("{address}: {source}")]
    Connect {
        /// As given.
        address: String,
        /// The error of the transport.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No threads for the client.
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
}

/// Runs the comparison and prints it; returns whether nothing differs.
pub fn compare_all(args: &ConformanceArgs) -> Result<bool, ConformanceError> {
    if args.golden { golden::run(args) } else { files::run(args) }
}

/// Runs the comparison; any difference is an error.
pub fn run(args: &ConformanceArgs) -> Result<(), Box<dyn std::error::Error>> {
    if compare_all(args)? { Ok(()) } else { Err(ConformanceError::Differs.into()) }
}

fn write_report(args: &ConformanceArgs, report: &serde_json::Value) -> Result<(), ConformanceError> {
    let Some(path) = &args.report else { return Ok(()) };
    let text = format!("{report:#}\n");
    std::fs::write(path, text).map_err(|source| ConformanceError::Report { path: path.clone(), source })
}
