//! What a frame says it returns, whether or not it can pay for the memory: the ROM notes offset and length before it charges, and
//! the answer shows what memory has there (main-state-machine §9.4).

use revm::interpreter::SharedMemory;
use revm::interpreter::interpreter_types::MemoryTr;
use revm::primitives::{Bytes, U256};

use super::modexp_memory::UnpaidWords;

/// Longest piece of memory that an answer shows, in bytes: nothing is shown of a longer one (main-state-machine §9.9).
const PIECE_BYTES_MAX: u64 = 0x3f_ffe0;

/// Offset and length as the stack had them.
pub(super) type Area = (U256, U256);

/// Returns the bytes of an area of memory, zero where nothing was written. Offset and length are their low 64 bits.
pub(super) fn memory_at((offset, length): Area, memory: &SharedMemory, unpaid: Option<&UnpaidWords>) -> Bytes {
    let [offset, length] = [offset, length].map(|word| word.as_limbs()[0]);
    if length == 0 || length > PIECE_BYTES_MAX {
        return Bytes::new();
    }
    let size = memory.size();
    let start = usize::try_from(offset).map_or(size, |offset| offset.min(size));
    let end = start.saturating_add(length as usize).min(size);
    let mut bytes = memory.slice(start..end).to_vec();
    bytes.resize(length as usize, 0);
    if let (Some(unpaid), Ok(offset)) = (unpaid, usize::try_from(offset)) {
        unpaid.copy_to(offset, &mut bytes);
    }
    bytes.into()
}
