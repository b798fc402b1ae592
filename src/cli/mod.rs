//! The command line: one file per subcommand.

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

/// Runs what the command line asks for; the error goes to the user as is.
pub fn run(cli: Cli) -> Result<(), Box<dyn std::error::Error>> {
    match cli.command {
        Some(Command::Serve(args)) => serve::run(args),
        None => serve::run(cli.serve),
    }
}
