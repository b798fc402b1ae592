//! The `zkevm-executor` binary: parses the command line and runs one subcommand.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use zkevm_executor::cli::{self, Cli};
use zkevm_executor::memory;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Time somebody has to read the last words.
const TELL_LIMIT: Duration = Duration::from_secs(2);

/// Writes to standard error. Not for longer than that: nobody may be reading it.
fn tell(sentence: String) {
    let (told, written) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        eprintln!("{sentence}");
        let _ = told.send(());
    });
    let _ = written.recv_timeout(TELL_LIMIT);
}

fn main() -> ExitCode {
    memory::disable_transparent_huge_pages();
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format!("zkevm-executor: {error}"));
            ExitCode::FAILURE
        }
    }
}
