//! Blocks that a digest of so many bytes takes (counters §2: keccak, paddings, SHA-256).

/// Bytes absorbed by one keccak-f permutation.
pub(crate) const KECCAK_RATE_BYTES: u64 = 136;
/// Bytes absorbed by one permutation of a linear Poseidon digest.
const POSEIDON_RATE_BYTES: u64 = 56;
/// Bytes of one SHA-256 block.
const SHA256_BLOCK_BYTES: u64 = 64;

/// Returns the keccak-f permutations of a digest: ⌈(n + 1) / 136⌉.
pub(crate) const fn keccak_blocks(bytes: u64) -> u64 {
    (bytes + 1).div_ceil(KECCAK_RATE_BYTES)
}

/// Returns the permutations of a linear Poseidon digest: ⌈(n + 1) / 56⌉.
pub(crate) const fn poseidon_blocks(bytes: u64) -> u64 {
    (bytes + 1).div_ceil(POSEIDON_RATE_BYTES)
}

/// Returns the SHA-256 blocks of a digest: ⌈(n + 9) / 64⌉.
pub(crate) const fn sha256_blocks(bytes: u64) -> u64 {
    (bytes + 9).div_ceil(SHA256_BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_takes_a_block_of_its_own_when_the_last_one_is_full() {
        assert_eq!([0, 135, 136, 271, 272].map(keccak_blocks), [1, 1, 2, 2, 3]);
        assert_eq!([0, 55, 56, 111, 112].map(poseidon_blocks), [1, 1, 2, 2, 3]);
        assert_eq!([0, 55, 56, 119, 120].map(sha256_blocks), [1, 1, 2, 2, 3]);
    }
}
