//! The command line: one file per subcommand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod logging;
pub mod serve;

/// Executes Polygon zkEVM L2 batches natively.
#[derive(Debug, Parser)]
#[command(name = "zkevm-executor", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a subcommand the server starts.
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the executor protocol over gRPC (the default).
    Serve(serve::ServeArgs),
}

/// Runs what the command line asks for.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Some(Command::Serve(args)) => serve::run(&args),
        None => serve::run(&cli.serve),
    }
}
