//! The `zkevm-executor` binary: parses the command line and runs one subcommand.

use std::process::ExitCode;

use clap::Parser;
use zkevm_executor::cli::{self, Cli};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
