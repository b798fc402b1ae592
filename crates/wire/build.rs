//! Compiles the protobuf contracts without protoc and leaves their descriptors for server reflection.

use std::path::PathBuf;

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic_build::manual;

/// Its server sends responses that are encoded before.
const EXECUTOR_CONTRACT: &str = "executor.proto";
const CONTRACTS: [&str; 3] = [EXECUTOR_CONTRACT, "hashdb.proto", "stats.proto"];
/// We are the client of this one: it has no place in server reflection.
const CLIENT_CONTRACTS: [&str; 1] = ["aggregator.proto"];
const INCLUDE: &str = "../../proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={INCLUDE}");
    let descriptors = protox::compile(CONTRACTS, [INCLUDE])?;
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out_dir.join("contracts.bin"), descriptors.encode_to_vec())?;
    let client_descriptors = protox::compile(CLIENT_CONTRACTS, [INCLUDE])?;
    std::fs::write(out_dir.join("client_contracts.bin"), client_descriptors.encode_to_vec())?;
    let (mut executor, mut others) = (descriptors.clone(), descriptors);
    executor.file.retain(|file| !CONTRACTS.contains(&file.name()) || file.name() == EXECUTOR_CONTRACT);
    others.file.retain(|file| file.name() != EXECUTOR_CONTRACT);
    manual::Builder::new().build_client(false).compile(&servers_of_encoded(&executor));
    for (descriptors, has_server) in [(executor, false), (others, true), (client_descriptors, true)] {
        // Sorted maps: a request with two bad entries always gets the same error, equal answers are equal bytes.
        let generator = tonic_prost_build::configure()
            .bytes(".")
            .btree_map(".")
            // Encoded from the form in which they are recorded.
            .extern_path(".executor.v1.FullTrace", "crate::full_trace::FullTrace")
            .extern_path(".executor.v1.FullTraceV2", "crate::full_trace::FullTraceV2");
        // Named, so that requests can be counted before they are decoded.
        let mut config = tonic_prost_build::Config::new();
        config.enable_type_names();
        let generator = generator.codec_path("crate::preencoded::CountedCodec").build_server(has_server);
        generator.compile_fds_with_config(descriptors, config)?;
    }
    Ok(())
}

/// Describes the services of these contracts with responses of `grpc::encoded`.
fn servers_of_encoded(descriptors: &FileDescriptorSet) -> Vec<manual::Service> {
    let services = descriptors.file.iter().flat_map(|file| file.service.iter().map(move |service| (file, service)));
    let described = services.map(|(file, service)| {
        let mut described = manual::Service::builder().name(service.name()).package(file.package());
        for method in &service.method {
            let own_type = method.input_type().rsplit_once(&format!("{}.", file.package()));
            let input = own_type.map_or("crate::preencoded::Empty".to_owned(), |(_, name)| format!("super::{name}"));
            let method = manual::Method::builder()
                .name(snake_case(method.name()))
                .route_name(method.name())
                .input_type(input)
                .output_type("crate::preencoded::Encoded")
                .codec_path("crate::preencoded::Codec");
            described = described.method(method.build());
        }
        described.build()
    });
    described.collect()
}

/// Returns the name of a method as Rust writes it.
fn snake_case(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}
