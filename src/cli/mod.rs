//! The command line: one file per subcommand.

use clap::{Parser, Subcommand};
use zkevm_tools::{conformance, load};

use self::layers::Layers;

pub mod aggregator;
pub mod config;
pub mod demo;
pub mod genesis;
pub mod health;
pub mod layers;
pub mod logging;
mod payload;
pub mod process;
pub mod serve;
pub mod state;

/// Executes Polygon zkEVM L2 batches natively.
#[derive(Debug, Parser)]
#[command(name = "zkevm-executor", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a subcommand the server starts.
    #[command(flatten)]
    serve: Layers<layers::Serve>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the executor protocol over gRPC (the default).
    Serve(Layers<layers::Serve>),
    /// Shows the defaults, or what the configuration comes to.
    Config(config::ConfigArgs),
    /// Executes executor-input files and prints what came out.
    Process(process::ProcessArgs),
    /// Replays public vectors or recorded answers and says what differs.
    Conformance(conformance::ConformanceArgs),
    /// Loads a genesis into the store and prints its state root.
    Genesis(genesis::GenesisArgs),
    /// Reads the state of accounts, or checks a whole state.
    State(state::StateArgs),
    /// Asks a running server for its health; fails unless it serves.
    Health(health::HealthArgs),
    /// Runs the mock aggregator client: a prover whose proofs only a test verifier accepts.
    Aggregator(Layers<layers::Aggregator>),
    /// Starts a server, sends it generated batches from many clients, and prints the statistics.
    Demo(demo::DemoArgs),
    /// Puts load on a running server: chains of signed batches, checked, with latency from the intended time of sending.
    Load(load::LoadArgs),
}

/// Runs what the command line asks for; the error goes to the user as is.
pub fn run(cli: Cli) -> Result<(), Box<dyn std::error::Error>> {
    match cli.command {
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Config(args)) => config::run(&args),
        Some(Command::Process(args)) => process::run(&args),
        Some(Command::Conformance(args)) => conformance::run(&args),
        Some(Command::Genesis(args)) => genesis::run(&args),
        Some(Command::State(args)) => state::run(&args),
        Some(Command::Health(args)) => health::run(&args),
        Some(Command::Aggregator(args)) => aggregator::run(&args),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Load(args)) => load::run(&args),
        None => serve::run(&cli.serve),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Flags come out of the table of settings: a row may repeat one.
    #[test]
    fn no_command_has_a_flag_twice() {
        Cli::command().debug_assert();
    }
}
