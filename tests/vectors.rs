//! Public vectors through the engine: roots, hashes and the state root of every transaction.
//!
//! The vectors are not part of this repository. Without them the test says so and passes.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Parser;
use zkevm_tools::conformance::{self, ConformanceArgs};

/// Share of the vectors that runs by default, so that the whole test suite stays short.
const EVERY_BY_DEFAULT: &str = "9";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    conformance: ConformanceArgs,
}

/// Where the vectors lie: `ZKEVM_VECTORS`, or `shared/vectors` beside the repository.
fn vectors() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors");
    let folder = std::env::var_os("ZKEVM_VECTORS").map_or_else(beside, PathBuf::from);
    let found = folder.join("executor-input").is_dir();
    if !found {
        // Straight to stderr: the harness swallows what the print macros of a passing test write.
        let _ = writeln!(
            std::io::stderr(),
            "
SKIPPED: no test vectors at {}
SKIPPED: set ZKEVM_VECTORS to a folder with executor-input/fork-N/… to run this test
",
            folder.display()
        );
    }
    found.then(|| folder.join("executor-input"))
}

#[test]
fn vectors_end_in_the_recorded_roots() {
    let Some(folder) = vectors() else { return };
    let every = if std::env::var_os("ZKEVM_VECTORS_ALL").is_some() { "1" } else { EVERY_BY_DEFAULT };
    let folder = folder.to_string_lossy();
    let arguments = Arguments::parse_from(["vectors", &folder, "--every", every]);
    let passed = conformance::compare_all(&arguments.conformance).expect("the vectors are readable");
    assert!(passed, "some vectors differ; the list is above (--nocapture)");
}
