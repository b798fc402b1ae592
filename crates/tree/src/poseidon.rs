//! Poseidon over Goldilocks, width 12, with plonky2's constants (state-tree §2), and the hash of byte strings (§6).

mod constants;
mod permutation;
mod scalar;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod simd;
#[cfg(test)]
mod textbook;

use super::NodeData;
use super::digest::Digest;

/// Bytes hashed per permutation by [`linear_hash`]: 8 elements of 7 bytes.
const CHUNK_BYTES: usize = 56;
/// Permutations of a long hash from one look to the next.
const PERMUTATIONS_PER_LOOK: usize = 1024;

/// Returns H(input, capacity): the first four elements after one permutation. Elements ≥ p count modulo p.
pub fn hash(input: &[u64; 8], capacity: &[u64; 4]) -> Digest {
    let mut state = [0; 12];
    state[..8].copy_from_slice(input);
    state[8..].copy_from_slice(capacity);
    hash_node(&state)
}

/// Returns the identity of a stored node: H of its content and capacity (state-tree §7).
pub fn hash_node(node: &NodeData) -> Digest {
    scalar::hash(node)
}

/// A way to compute many hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// One hash at a time; everywhere.
    Scalar,
    /// Four at a time, on x86-64 with AVX2.
    Avx2,
    /// Sixteen or eight at a time, on x86-64 with AVX-512F.
    Avx512,
}

impl Kernel {
    /// Returns the kernels of this machine, slowest first.
    pub fn available() -> Vec<Self> {
        [Self::Scalar, Self::Avx2, Self::Avx512].into_iter().filter(|kernel| kernel.hash_many(&[], &mut [])).collect()
    }

    /// Hashes every state into the same position of `out`. Returns false, with nothing done, where the kernel is not
    /// available.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn hash_many(self, states: &[[u64; 12]], out: &mut [Digest]) -> bool {
        assert_eq!(states.len(), out.len(), "one digest per state");
        match self {
            Self::Scalar => {
                for (state, digest) in states.iter().zip(out) {
                    *digest = scalar::hash(state);
                }
                true
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => simd::hash_many_avx2(states, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => simd::hash_many_avx512(states, out),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }
}

/// Hashes every state into the same position of `out`, with the fastest kernel of this machine. Far faster per hash
/// than [`hash_node`] from three states on.
///
/// # Panics
///
/// If the lengths differ.
pub fn hash_many(states: &[[u64; 12]], out: &mut [Digest]) {
    for kernel in [Kernel::Avx512, Kernel::Avx2, Kernel::Scalar] {
        if kernel.hash_many(states, out) {
            return;
        }
    }
}

/// Returns the hash of every state, as [`hash_many`] makes it.
pub fn hashes_of(states: &[[u64; 12]]) -> Vec<Digest> {
    let mut hashes = vec![Digest::ZERO; states.len()];
    hash_many(states, &mut hashes);
    hashes
}

/// Returns the linear Poseidon hash of a byte string: bytecode, or the log digests of fork 7 and later (state-tree §6).
pub fn linear_hash(bytes: &[u8]) -> Digest {
    linear_hash_while(bytes, || true).unwrap_or_default()
}

/// Returns the same as [`linear_hash`]; asks `goes_on` every thousand permutations, about a millisecond, and gives up with
/// `None` if told so.
pub fn linear_hash_while(bytes: &[u8], mut goes_on: impl FnMut() -> bool) -> Option<Digest> {
    let mut capacity = Digest::ZERO;
    for chunk in 0..chunk_count(bytes) {
        if chunk % PERMUTATIONS_PER_LOOK == PERMUTATIONS_PER_LOOK - 1 && !goes_on() {
            return None;
        }
        capacity = hash(&chunk_elements(bytes, chunk), &capacity.0);
    }
    Some(capacity)
}

/// Returns the linear Poseidon hash of every message, one message per lane.
///
/// Chunks of one message depend on each other, so the lanes run across messages: best when lengths are alike.
pub fn linear_hash_many(messages: &[&[u8]]) -> Vec<Digest> {
    let mut digests = vec![Digest::ZERO; messages.len()];
    // Longest first, so that the messages still running are always a prefix.
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(messages[index].len()));
    let mut states = vec![[0; 12]; messages.len()];
    let mut outputs = vec![Digest::ZERO; messages.len()];
    let mut running = messages.len();
    for chunk in 0.. {
        while running > 0 && chunk >= chunk_count(messages[order[running - 1]]) {
            running -= 1;
            digests[order[running]] = outputs[running];
        }
        if running == 0 {
            break;
        }
        for ((state, output), &index) in states.iter_mut().zip(&outputs).zip(&order).take(running) {
            state[..8].copy_from_slice(&chunk_elements(messages[index], chunk));
            state[8..].copy_from_slice(&output.0);
        }
        hash_many(&states[..running], &mut outputs[..running]);
    }
    digests
}

/// Returns the number of permutations that [`linear_hash`] takes.
pub fn linear_permutations(bytes: &[u8]) -> u64 {
    chunk_count(bytes) as u64
}

/// Number of chunks after padding, which always adds at least one byte.
fn chunk_count(bytes: &[u8]) -> usize {
    bytes.len() / CHUNK_BYTES + 1
}

/// Returns one padded chunk as 8 little-endian elements of 7 bytes. The padding is 01, zeros, and 80 or-ed into the
/// last byte of the last chunk.
fn chunk_elements(bytes: &[u8], chunk: usize) -> [u64; 8] {
    let rest = &bytes[chunk * CHUNK_BYTES..];
    let mut padded = [0; CHUNK_BYTES];
    if rest.len() >= CHUNK_BYTES {
        padded.copy_from_slice(&rest[..CHUNK_BYTES]);
    } else {
        padded[..rest.len()].copy_from_slice(rest);
        padded[rest.len()] = 0x01;
        padded[CHUNK_BYTES - 1] |= 0x80;
    }
    let mut elements = [0; 8];
    for (element, seven) in elements.iter_mut().zip(padded.chunks_exact(7)) {
        let mut word = [0; 8];
        word[..7].copy_from_slice(seven);
        *element = u64::from_le_bytes(word);
    }
    elements
}

#[cfg(test)]
mod tests;
