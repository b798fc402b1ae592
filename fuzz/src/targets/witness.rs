//! The witness of a stateless batch (executor-service §5.10).

use zkevm_testkit::stateless::Source;
use zkevm_tree::linear_hash;
use zkevm_wire::stateless::read_witness;

use super::{Target, kind_of, without_digits, workload};

/// The bytes are the witness.
pub const TARGET: Target = Target {
    name: "witness",
    run: target,
    seeds,
    dictionary: &[
        &[2, 1],
        &[2, 2],
        &[2, 3],
        &[3],
        &[4],
        &[7, 0, 0x54],
        &[7, 3, 0x54],
        &[0x40],
        &[0x58, 0x20],
        &[0x59, 0xff, 0xff],
        &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ],
    input_bytes_max: 32 << 10,
    memory_bytes_max: 32 << 20,
};

/// Nodes that a witness may have; fewer than inputs can ask for.
const NODES_MAX: usize = 4 << 10;
/// Programs whose hash is computed again.
const PROGRAMS_CHECKED: usize = 2;

/// Reads the witness and checks that it keeps its bound and that programs have the hash they stand under.
pub fn target(data: &[u8]) -> u64 {
    match read_witness(data, NODES_MAX) {
        Ok(witness) => {
            assert!(witness.nodes.len() <= NODES_MAX, "{} nodes of at most {NODES_MAX}", witness.nodes.len());
            assert!(witness.nodes.values().all(|node| node.len() == 12), "a node has 12 elements");
            for (hash, code) in witness.programs.iter().take(PROGRAMS_CHECKED) {
                assert_eq!(*hash, linear_hash(code), "a program under another hash");
            }
            kind_of(&(witness.nodes.len().checked_ilog2(), witness.programs.len().min(4)))
        }
        Err(error) => kind_of(&without_digits(&error)),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let source = Source::new(workload(9).genesis()).expect("the sample state is a tree");
    let pruned = |bits: u64| source.witness(|hash| *hash == source.state.root || hash.0[0] & bits != 0);
    vec![source.witness(|_| true), source.witness(|_| false), pruned(1), pruned(3), pruned(7)]
}
