//! Argument parsing, then one of the subcommands of [`zkevm_executor::cli`].

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use zkevm_executor::cli;

/// Native batch executor for Polygon zkEVM nodes.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Executes executor-input files and prints what came out.
    Process(cli::process::ProcessArgs),
    /// Replays public vectors or recorded answers and says what differs.
    Conformance(cli::conformance::ConformanceArgs),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Process(args) => cli::process::run(&args),
        Command::Conformance(args) => cli::conformance::run(&args),
    }
}
