//! The grammar of `batch_l2_data`, and what is computed of each decoded transaction (batch §3, §4).

use revm::primitives::{Address, B256, Bytes};
use zkevm_batch::{BatchItem, decode, decode_into, recover_signer};
use zkevm_types::ForkId;

use super::{Target, batches, kind_of};

/// The first byte chooses the fork and how the batch came; the rest is `batch_l2_data`.
pub const TARGET: Target = Target {
    name: "batch",
    run: target,
    seeds,
    dictionary: &[
        &[0x0b, 0, 0, 0, 1, 0, 0, 0, 0],
        &[0xc0],
        &[0xf7],
        &[0xf8],
        &[0xf9, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80],
        &[0x81, 0x80],
        &[0xb8, 0x38],
        &[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ],
    input_bytes_max: 16 << 10,
    memory_bytes_max: 32 << 20,
};

/// Forks are 1 to 13; other numbers are not known and stand for the last.
const FORKS: u8 = 13;
/// Signatures tried for one input: each takes more than all else.
const SIGNATURES_MAX: usize = 2;

/// Decodes, and checks that what stands before a bad item does not depend on it.
pub fn target(data: &[u8]) -> u64 {
    let Some((&head, data)) = data.split_first() else { return 0 };
    let fork = ForkId::new(u64::from(head % FORKS) + 1).or(ForkId::new(u64::from(FORKS)));
    let rules = fork.expect("the last fork is known").rules();
    let (forced, implicit_block) = (head & 0x40 != 0, head & 0x80 != 0);
    let data = Bytes::copy_from_slice(data);

    let mut items = Vec::new();
    let read = decode_into(&mut items, &data, rules, forced, implicit_block);
    match (&read, decode(&data, rules, forced, implicit_block)) {
        (Ok(()), Ok(all)) => assert_eq!(all.len(), items.len(), "the two ways to decode differ"),
        (Err(error), Err(other)) => assert_eq!(*error, other, "the two ways to decode differ"),
        (one, other) => panic!("the two ways to decode differ: {one:?}, {:?}", other.map(|items| items.len())),
    }
    let transactions: Vec<_> = items.iter().filter_map(BatchItem::transaction).collect();
    let bytes: usize = transactions.iter().map(|tx| tx.signed_rlp.len()).sum();
    assert!(bytes <= data.len(), "{bytes} bytes of transactions in a batch of {}", data.len());
    for tx in &transactions {
        assert!(!tx.rlp().is_empty());
        let preimage = tx.l2_preimage(Address::ZERO);
        assert_eq!(preimage.len() as u64, tx.l2_hash_bytes(), "the length of what the L2 hash is made of");
        let _ = (tx.intrinsic_gas(), tx.scaled_gas_price());
    }
    for tx in transactions.iter().take(SIGNATURES_MAX) {
        let _ = recover_signer(tx.signing_hash(), tx.r, tx.s, tx.v, head & 0x20 != 0);
    }
    let blocks = items.len() - transactions.len();
    let shape = (transactions.len().min(4), blocks.min(4), transactions.first().map(|tx| tx.to.is_some()));
    kind_of(&(head % FORKS, format!("{read:?}"), shape))
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for fork in 4..=FORKS {
        for batch in batches(u64::from(fork), B256::ZERO) {
            seeds.push([&[fork - 1][..], &batch.batch_l2_data].concat());
        }
    }
    seeds
}
