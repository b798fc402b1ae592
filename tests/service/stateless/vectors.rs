//! Witnesses and a stream that real nodes have made, where the public vectors are.

use std::path::Path;

use revm::primitives::hex;
use zkevm_batch::decode;
use zkevm_testkit::skip;
use zkevm_types::ForkId;
use zkevm_wire::stateless::{read_stream, read_witness};

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn witnesses_of_cdk_erigon_are_read() {
    let Some(folder) = skip::vectors("unit/erigon-witness") else { return };
    let mut roots = std::collections::HashSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let witness = read_witness(&bytes(&json(&path)["result"]), 1 << 16);
        let witness = witness.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(witness.nodes.contains_key(&witness.root), "{}", path.display());
        roots.insert(witness.root);
    }
    assert!(!roots.is_empty());
}

/// The streams of this vector are of other chains than its witness, so there is nothing to execute.
#[test]
fn a_recorded_witness_and_its_pruned_form_have_one_root_and_streams_become_batches() {
    let Some(folder) = skip::vectors("stateless") else { return };
    let vector = json(&folder.join("input_executor_0.json"));
    let whole = read_witness(&bytes(&vector["witness_full_tree"]), 1 << 16).unwrap();
    let pruned = read_witness(&bytes(&vector["witness"]), 1 << 16).unwrap();
    assert_eq!(whole.root, pruned.root);
    assert!(pruned.nodes.len() < whole.nodes.len() && !pruned.programs.is_empty());
    assert!(pruned.nodes.iter().all(|(hash, node)| whole.nodes.get(hash) == Some(node)));

    // Every transaction of the second is from before EIP-155.
    for (name, head, items) in [("dataStream", (54_300, 7, 2442), 387 + 20), ("dataStream2", (1, 4, 2440), 105 + 105)] {
        let stream = read_stream(&bytes(&vector[name])).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((stream.number, stream.fork_id, stream.chain_id), head, "{name}");
        let rules = ForkId::new(7).unwrap().rules();
        assert_eq!(decode(&stream.batch_l2_data.into(), rules, false, false).unwrap().len(), items, "{name}");
    }
}
