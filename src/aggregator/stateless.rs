//! What a prover looks at before it proves a stateless batch (later-forks §10).

use prost::Message;

use super::proto::v1::{L1Data, StatelessInputProver, StatelessPublicInputs};
use zkevm_types::BATCH_L2_DATA_MAX_BYTES;
use zkevm_wire::stateless::{WitnessError, read_witness};

/// Nodes of a witness; more than a batch can read.
const WITNESS_NODES_MAX: usize = 1 << 22;
const WORD_BYTES: usize = 32;
/// Hex digits of an address.
const ADDRESS_DIGITS: usize = 40;

/// The reason why a batch is not proved.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The message has another form.
    #[error(transparent)]
    Malformed(#[from] prost::DecodeError),
    /// The witness has another form.
    #[error("witness: {0}")]
    Witness(#[from] WitnessError),
    /// A field has a value that it cannot have.
    #[error("{0}")]
    Field(&'static str),
}

/// Checks the request of a batch's proof, by a prover of this fork.
pub(super) fn check(input: &[u8], fork_id: u64) -> Result<(), Refusal> {
    let inputs = StatelessInputProver::decode(input)?.public_inputs.unwrap_or_default();
    let StatelessPublicInputs { witness, old_acc_input_hash, l1_info_root, forced_blockhash_l1, .. } = &inputs;
    read_witness(witness, WITNESS_NODES_MAX)?;
    let words = [old_acc_input_hash, l1_info_root, forced_blockhash_l1];
    let is_word = |bytes: &prost::bytes::Bytes| bytes.len() <= WORD_BYTES;
    let is_leaf = |leaf: &L1Data| {
        is_word(&leaf.global_exit_root) && is_word(&leaf.blockhash_l1) && leaf.smt_proof.iter().all(is_word)
    };
    let rows = [
        (inputs.chain_id != 0, "no chain id"),
        (inputs.fork_id == fork_id, "another fork"),
        (inputs.batch_l2_data.len() <= BATCH_L2_DATA_MAX_BYTES, "a batch that is too long"),
        (words.into_iter().all(is_word), "a hash of more than 32 bytes"),
        (is_address(&inputs.sequencer_addr), "no address of a sequencer"),
        (is_address(&inputs.aggregator_addr), "no address of an aggregator"),
        (inputs.l1_info_tree_data.values().all(is_leaf), "L1 info of more than 32 bytes"),
    ];
    rows.into_iter().try_for_each(|(holds, otherwise)| if holds { Ok(()) } else { Err(Refusal::Field(otherwise)) })
}

fn is_address(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    digits.len() <= ADDRESS_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}
