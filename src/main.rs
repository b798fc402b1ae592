//! The `zkevm-executor` binary: parses the command line and runs one subcommand.

use std::process::ExitCode;

use clap::Parser;
use zkevm_executor::cli::{self, Cli};
use zkevm_executor::memory;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::disable_transparent_huge_pages();
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zkevm-executor: {error}");
            ExitCode::FAILURE
        }
    }
}
