//! Gas of a call up to the point where the ROM looks at the receiver (evm §4.1).

use revm::primitives::U256;

/// Returns the gas left once memory reaches over both areas of a call, `None` if that is not affordable.
///
/// `areas` are offset and bytes of the arguments, then of the output; `memory_bytes` is the memory before.
pub fn after_memory(gas: u64, memory_bytes: usize, areas: [U256; 4]) -> Option<u64> {
    let end = |offset: U256, bytes: U256| {
        if bytes.is_zero() { Some(0) } else { u64::try_from(offset).ok()?.checked_add(u64::try_from(bytes).ok()?) }
    };
    let [input, in_bytes, out, out_bytes] = areas;
    let reached = end(input, in_bytes)?.max(end(out, out_bytes)?);
    let cost = |words: u64| words.checked_mul(3)?.checked_add(words.checked_mul(words)? / 512);
    let present = (memory_bytes as u64).div_ceil(32);
    let grown = cost(reached.div_ceil(32).max(present))?.checked_sub(cost(present)?)?;
    gas.checked_sub(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_paid_for_once_over_both_areas() {
        let area = |numbers: [u64; 4]| numbers.map(U256::from);
        assert_eq!(after_memory(100, 0, area([0, 64, 0, 32])), Some(94));
        assert_eq!(after_memory(100, 64, area([0, 64, 0, 32])), Some(100));
        assert_eq!(after_memory(2, 0, area([0, 32, 0, 0])), None);
        assert_eq!(after_memory(100, 0, [U256::MAX, U256::ZERO, U256::MAX, U256::ONE]), None);
        assert_eq!(after_memory(u64::MAX, 0, area([u64::MAX - 1, 1, 0, 0])), None);
    }
}
