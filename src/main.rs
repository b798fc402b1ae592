//! The `zkevm-executor` binary: parses the command line and runs one subcommand.

use std::process::ExitCode;

use clap::Parser;
use zkevm_executor::cli::{self, Cli};
use zkevm_executor::pages;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pages::keep_small();
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zkevm-executor: {error}");
            ExitCode::FAILURE
        }
    }
}
