//! Compiles the protobuf contracts without protoc and leaves their descriptors for server reflection.

use std::path::PathBuf;

use prost::Message;

const CONTRACTS: [&str; 3] = ["executor.proto", "hashdb.proto", "stats.proto"];
/// We are the client of this one: it has no place in server reflection.
const CLIENT_CONTRACTS: [&str; 1] = ["aggregator.proto"];
const INCLUDE: &str = "proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={INCLUDE}");
    let descriptors = protox::compile(CONTRACTS, [INCLUDE])?;
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out_dir.join("contracts.bin"), descriptors.encode_to_vec())?;
    let client_descriptors = protox::compile(CLIENT_CONTRACTS, [INCLUDE])?;
    std::fs::write(out_dir.join("client_contracts.bin"), client_descriptors.encode_to_vec())?;
    // Sorted maps: a request with two bad entries always gets the same error, equal answers are equal bytes.
    for descriptors in [descriptors, client_descriptors] {
        tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(descriptors)?;
    }
    Ok(())
}
