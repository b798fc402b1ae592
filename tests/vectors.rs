//! Public vectors through the engine: roots, hashes and the state root of every transaction.
//!
//! The vectors are not part of this repository. Without them the test says so and passes.

use clap::Parser;
use zkevm_testkit::skip;
use zkevm_tools::conformance::{self, ConformanceArgs};

/// Share of the vectors that runs by default, so that the whole test suite stays short.
const EVERY_BY_DEFAULT: &str = "9";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    conformance: ConformanceArgs,
}

#[test]
fn vectors_end_in_the_recorded_roots() {
    let Some(folder) = skip::vectors("executor-input") else { return };
    let every = if std::env::var_os("ZKEVM_VECTORS_ALL").is_some() { "1" } else { EVERY_BY_DEFAULT };
    let folder = folder.to_string_lossy();
    let arguments = Arguments::parse_from(["vectors", &folder, "--every", every]);
    let passed = conformance::compare_all(&arguments.conformance).expect("the vectors are readable");
    assert!(passed, "some vectors differ; the list is above (--nocapture)");
}
