//! The three hash machines (main-state-machine §5.4).

use std::collections::HashMap;

use alloy_primitives::{U256, keccak256};
use foldhash::fast::RandomState;
use sha2::{Digest as _, Sha256};
use zkevm_tree::{Digest, GOLDILOCKS_PRIME, linear_hash};
use zkevm_types::ExecutorError;

use super::Machine;
use super::registers::{small, wide};
use super::step::Effects;
use crate::Abort;
use crate::fea::{self, Fea};
use crate::program::{Hash, HashMachine, Line};

/// Bytes of one access, at most.
const SIZE_MAX: u64 = 32;
/// Empty accesses beyond the end of one buffer, at most: no known ROM makes any.
const FAR_ACCESSES_MAX: usize = 256;
/// Bytes of all buffers of a run, at most: a batch hashes some hundred KiB.
const BYTES_MAX: usize = 256 << 20;

/// The buffers of the three machines.
#[derive(Debug, Default)]
pub(super) struct HashBuffers {
    /// Place of each buffer, by machine and address.
    places: HashMap<(u8, u64), u32, RandomState>,
    buffers: Vec<Buffer>,
    /// Buffer used last.
    last: Option<((u8, u64), u32)>,
    bytes: usize,
}

/// One buffer.
#[derive(Debug, Default)]
struct Buffer {
    data: Vec<u8>,
    /// Size plus one of the access at each position; 0 where there was none.
    sizes: Vec<u8>,
    /// The same of empty accesses beyond the end.
    far_sizes: Vec<(u64, u8)>,
    digest: U256,
    len_called: bool,
    digest_called: bool,
    first_byte_written: bool,
}

/// The errors of one machine.
struct Errors {
    size: ExecutorError,
    position: ExecutorError,
    range: ExecutorError,
    not_found: ExecutorError,
    not_completed: ExecutorError,
    value: ExecutorError,
    padding: ExecutorError,
    size_mismatch: ExecutorError,
    length: ExecutorError,
    length_twice: ExecutorError,
    digest: ExecutorError,
    digest_twice: ExecutorError,
}

const KECCAK: Errors = Errors {
    size: ExecutorError::HashKSizeOutOfRange,
    position: ExecutorError::HashKPositionNegative,
    range: ExecutorError::HashKPositionPlusSizeOutOfRange,
    not_found: ExecutorError::HashKDigestAddressNotFound,
    not_completed: ExecutorError::HashKDigestNotCompleted,
    value: ExecutorError::HashKValueMismatch,
    padding: ExecutorError::HashKPaddingMismatch,
    size_mismatch: ExecutorError::HashKSizeMismatch,
    length: ExecutorError::HashKLenLengthMismatch,
    length_twice: ExecutorError::HashKLenCalledTwice,
    digest: ExecutorError::HashKDigestDigestMismatch,
    digest_twice: ExecutorError::HashKDigestCalledTwice,
};

const POSEIDON: Errors = Errors {
    size: ExecutorError::HashPSizeOutOfRange,
    position: ExecutorError::HashPPositionNegative,
    range: ExecutorError::HashPPositionPlusSizeOutOfRange,
    not_found: ExecutorError::HashPDigestAddressNotFound,
    not_completed: ExecutorError::HashPDigestNotCompleted,
    value: ExecutorError::HashPValueMismatch,
    padding: ExecutorError::HashPPaddingMismatch,
    size_mismatch: ExecutorError::HashPSizeMismatch,
    length: ExecutorError::HashPLenLengthMismatch,
    length_twice: ExecutorError::HashPLenCalledTwice,
    digest: ExecutorError::HashPDigestDigestMismatch,
    digest_twice: ExecutorError::HashPDigestCalledTwice,
};

const SHA256: Errors = Errors {
    size: ExecutorError::HashSSizeOutOfRange,
    position: ExecutorError::HashSPositionNegative,
    range: ExecutorError::HashSPositionPlusSizeOutOfRange,
    not_found: ExecutorError::HashSDigestAddressNotFound,
    not_completed: ExecutorError::HashSDigestNotCompleted,
    value: ExecutorError::HashSValueMismatch,
    padding: ExecutorError::HashSPaddingMismatch,
    size_mismatch: ExecutorError::HashSSizeMismatch,
    length: ExecutorError::HashSLenLengthMismatch,
    length_twice: ExecutorError::HashSLenCalledTwice,
    digest: ExecutorError::HashSDigestDigestMismatch,
    digest_twice: ExecutorError::HashSDigestCalledTwice,
};

fn errors(machine: HashMachine) -> &'static Errors {
    match machine {
        HashMachine::Keccak => &KECCAK,
        HashMachine::Poseidon => &POSEIDON,
        HashMachine::Sha256 => &SHA256,
    }
}

impl HashBuffers {
    fn place(&mut self, machine: HashMachine, address: u64) -> Option<u32> {
        let key = (machine as u8, address);
        if let Some((last, place)) = self.last
            && last == key
        {
            return Some(place);
        }
        let place = *self.places.get(&key)?;
        self.last = Some((key, place));
        Some(place)
    }

    fn get(&mut self, machine: HashMachine, address: u64) -> Option<&mut Buffer> {
        let place = self.place(machine, address)?;
        self.buffers.get_mut(place as usize)
    }

    /// Returns the buffer at an address, made if there is none.
    fn open(&mut self, machine: HashMachine, address: u64) -> Result<&mut Buffer, Abort> {
        let place = match self.place(machine, address) {
            Some(place) => place,
            None => {
                self.take(size_of::<Buffer>() + 64)?;
                let place = self.buffers.len() as u32;
                self.buffers.push(Buffer::default());
                self.places.insert((machine as u8, address), place);
                place
            }
        };
        self.buffers.get_mut(place as usize).ok_or(Abort::unspecified("a hash buffer is gone"))
    }

    /// Returns the byte at a position if it is there and was read alone or never before; `None`, with nothing done, where an
    /// access may be more than that. Fails as [`Machine::hash`] does once the buffers are full.
    #[inline]
    pub(super) fn read_byte(&mut self, machine: HashMachine, address: u64, position: u64) -> Result<Option<u8>, Abort> {
        // The first byte may be written last.
        if position == 0 || position > GOLDILOCKS_PRIME / 2 {
            return Ok(None);
        }
        let Some(buffer) = self.get(machine, address) else { return Ok(None) };
        let Some(byte) = buffer.data.get(position as usize).copied() else { return Ok(None) };
        match buffer.sizes.get_mut(position as usize) {
            Some(size @ (0 | 2)) if buffer.far_sizes.is_empty() => *size = 2,
            _ => return Ok(None),
        }
        self.take(1)?;
        Ok(Some(byte))
    }

    /// Returns bytes as [`Self::read_byte`] does one after the other.
    pub(super) fn read_bytes(
        &mut self,
        machine: HashMachine,
        address: u64,
        position: u64,
        count: usize,
    ) -> Option<&[u8]> {
        if position == 0 || self.bytes + count > BYTES_MAX {
            return None;
        }
        let place = self.place(machine, address)?;
        let buffer = self.buffers.get_mut(place as usize)?;
        let first = usize::try_from(position).ok()?;
        let range = first..first.checked_add(count)?;
        let bytes = buffer.data.get(range.clone())?;
        let sizes = buffer.sizes.get_mut(range)?;
        if !buffer.far_sizes.is_empty() || sizes.iter().any(|size| !matches!(size, 0 | 2)) {
            return None;
        }
        sizes.fill(2);
        self.bytes += count;
        Some(bytes)
    }

    /// Appends a byte as [`Machine::hash`] does, if the buffer ends at this position and nothing was read there; false, with
    /// nothing done, if not.
    pub(super) fn append_byte(&mut self, machine: HashMachine, address: u64, position: u64, byte: u8) -> bool {
        if position == 0 || self.bytes >= BYTES_MAX {
            return false;
        }
        let Some(buffer) = self.get(machine, address) else { return false };
        if position != buffer.data.len() as u64 || !buffer.far_sizes.is_empty() || buffer.size_at(position).is_some() {
            return false;
        }
        buffer.data.push(byte);
        buffer.set_size(position, 1);
        self.bytes += 1;
        true
    }

    fn take(&mut self, bytes: usize) -> Result<(), Abort> {
        self.bytes += bytes;
        if self.bytes > BYTES_MAX { Err(Abort::unspecified("the hash buffers are full")) } else { Ok(()) }
    }
}

impl Machine<'_, '_> {
    /// Returns the size and the position of an access to a buffer.
    fn hash_range(&self, machine: HashMachine, what: Hash) -> Result<(usize, u64), Abort> {
        let size = if what == Hash::Byte { 1 } else { self.registers.wide[wide::D][0] };
        if size > SIZE_MAX {
            let shared = machine == HashMachine::Sha256 && self.program.rules.shared_errors;
            return Err(if shared { POSEIDON.size } else { errors(machine).size }.into());
        }
        let position = self.registers.small[small::HASHPOS];
        if position > GOLDILOCKS_PRIME / 2 {
            return Err(errors(machine).position.into());
        }
        Ok((size as usize, position))
    }

    /// Returns what a hash machine gives as a free input.
    pub(super) fn hash_input(&mut self, line: &Line, address: u64) -> Result<Fea, Abort> {
        let Some((machine, what)) = line.hash else { return Ok(fea::ZERO) };
        let errors = errors(machine);
        match what {
            Hash::Bytes | Hash::Byte => {
                let (size, position) = self.hash_range(machine, what)?;
                let buffer = self.hashes.open(machine, address)?;
                let bytes =
                    usize::try_from(position).ok().and_then(|from| buffer.data.get(from..from.checked_add(size)?));
                match bytes {
                    Some(bytes) => Ok(fea::to_fea(U256::from_be_slice(bytes))),
                    // An empty piece beyond the end is out of range as well.
                    None => Err(errors.range.into()),
                }
            }
            Hash::Length => {
                Ok(fea::low(self.hashes.get(machine, address).map_or(0, |buffer| buffer.data.len() as u64)))
            }
            Hash::Digest => match self.hashes.get(machine, address) {
                None => Err(errors.not_found.into()),
                Some(buffer) if !buffer.len_called => Err(errors.not_completed.into()),
                Some(buffer) => Ok(fea::to_fea(buffer.digest)),
            },
        }
    }

    /// Gives the sum to a hash machine.
    pub(super) fn hash(
        &mut self,
        machine: HashMachine,
        what: Hash,
        address: u64,
        op: &Fea,
        effects: &mut Effects,
    ) -> Result<(), Abort> {
        match what {
            Hash::Bytes | Hash::Byte => {
                let (size, position) = self.hash_range(machine, what)?;
                self.hash_bytes(machine, address, (size, position), op)?;
                effects.hashed_bytes = size as u64;
            }
            Hash::Length => self.hash_length(machine, address, op[0])?,
            Hash::Digest => effects.increment = self.hash_digest(machine, address, op)?,
        }
        Ok(())
    }

    fn hash_bytes(
        &mut self,
        machine: HashMachine,
        address: u64,
        (size, position): (usize, u64),
        op: &Fea,
    ) -> Result<(), Abort> {
        let errors = errors(machine);
        let value = fea::to_scalar(op)?;
        let reserves_first = machine == HashMachine::Poseidon && self.program.rules.is_v2;
        self.hashes.take(size)?;
        let buffer = self.hashes.open(machine, address)?;
        let bytes = value.to_be_bytes::<32>();
        for (place, byte) in (position..).zip(&bytes[32 - size..]) {
            if reserves_first && buffer.take_first_byte(place, size, *byte)? {
                continue;
            }
            let length = buffer.data.len() as u64;
            if place == length {
                buffer.data.push(*byte);
            } else if place > length {
                return Err(errors.range.into());
            } else if buffer.data[place as usize] != *byte {
                return Err(errors.value.into());
            }
        }
        if value.bit_len() > 8 * size {
            return Err(errors.padding.into());
        }
        if buffer.far_sizes.len() > FAR_ACCESSES_MAX {
            return Err(Abort::unspecified("too many empty accesses beyond the end of a hash buffer"));
        }
        if !buffer.remember_size(position, size as u8) {
            return Err(errors.size_mismatch.into());
        }
        Ok(())
    }

    fn hash_length(&mut self, machine: HashMachine, address: u64, length: u64) -> Result<(), Abort> {
        let errors = errors(machine);
        let get_keys = self.request.get_keys;
        if length != 0 && self.hashes.get(machine, address).is_none() {
            return Err(errors.length.into());
        }
        let buffer = self.hashes.open(machine, address)?;
        if buffer.len_called {
            return Err(errors.length_twice.into());
        }
        buffer.len_called = true;
        if length != buffer.data.len() as u64 {
            return Err(errors.length.into());
        }
        if buffer.digest_called {
            return Ok(());
        }
        buffer.digest = match machine {
            HashMachine::Keccak => keccak256(&buffer.data).into(),
            HashMachine::Sha256 => U256::from_be_bytes::<32>(Sha256::digest(&buffer.data).into()),
            HashMachine::Poseidon => {
                let digest = linear_hash(&buffer.data);
                // Whatever is hashed may be the code of a contract: it is found by its hash later.
                self.tree.add_program(digest, &buffer.data);
                if get_keys {
                    self.program_keys.add(digest);
                }
                digest.to_u256()
            }
        };
        Ok(())
    }

    /// Checks a digest; returns what the counter gains.
    fn hash_digest(&mut self, machine: HashMachine, address: u64, op: &Fea) -> Result<u64, Abort> {
        let errors = errors(machine);
        let digest = fea::to_scalar(op)?;
        if self.hashes.get(machine, address).is_none() {
            self.load_program(machine, address, digest)?;
        }
        let buffer = self.hashes.open(machine, address)?;
        let is_poseidon = machine == HashMachine::Poseidon;
        if !is_poseidon && digest != buffer.digest {
            return Err(errors.digest.into());
        }
        if buffer.digest_called {
            return Err(errors.digest_twice.into());
        }
        buffer.digest_called = true;
        if digest != buffer.digest {
            return Err(errors.digest.into());
        }
        let length = buffer.data.len() as u64;
        Ok(match machine {
            HashMachine::Keccak => length / 136 + 1,
            HashMachine::Poseidon => length / 56 + 1,
            HashMachine::Sha256 => (length + 9).div_ceil(64),
        })
    }

    /// Fills a buffer with the program of a hash.
    fn load_program(&mut self, machine: HashMachine, address: u64, digest: U256) -> Result<(), Abort> {
        match machine {
            HashMachine::Keccak => return Err(ExecutorError::HashKDigestNotFound.into()),
            HashMachine::Sha256 if !self.program.rules.shared_errors => {
                return Err(ExecutorError::HashSDigestNotFound.into());
            }
            _ => {}
        }
        let hash = Digest(digest.into_limbs());
        let Some(program) = self.tree.program(&hash)? else {
            let cause = format!("no program {:#x}", digest);
            return Err(Abort::Error(ExecutorError::DbKeyNotFound, cause.into()));
        };
        if self.request.get_keys {
            self.program_keys.add(hash);
        }
        self.hashes.take(program.len())?;
        let buffer = self.hashes.open(machine, address)?;
        buffer.data = program.to_vec();
        buffer.sizes.resize(program.len() + 1, 0);
        buffer.digest = digest;
        Ok(())
    }
}

impl Buffer {
    /// The Poseidon machine of forks from 7 on lets the first byte be written last. Returns true if the byte was it.
    fn take_first_byte(&mut self, place: u64, size: usize, byte: u8) -> Result<bool, Abort> {
        if self.first_byte_written {
            return Ok(false);
        }
        if place == 1 && self.data.is_empty() {
            self.data.push(0);
            if self.size_at(0).is_some() {
                return Err(POSEIDON.size_mismatch.into());
            }
            self.set_size(0, 1);
        }
        if place == 0 && size == 1 && !self.data.is_empty() {
            self.data[0] = byte;
            self.first_byte_written = true;
            return Ok(true);
        }
        Ok(false)
    }

    fn size_at(&self, position: u64) -> Option<u8> {
        match self.sizes.get(position as usize) {
            Some(0) | None => self.far_sizes.iter().find(|(far, _)| *far == position).map(|(_, size)| *size),
            Some(size) => Some(size - 1),
        }
    }

    fn set_size(&mut self, position: u64, size: u8) {
        let place = position as usize;
        if place <= self.data.len() {
            if self.sizes.len() <= place {
                self.sizes.resize(place + 1, 0);
            }
            self.sizes[place] = size + 1;
        } else {
            self.far_sizes.push((position, size));
        }
    }

    /// Remembers the size of the access at a position; false if there was one of another size.
    fn remember_size(&mut self, position: u64, size: u8) -> bool {
        match self.size_at(position) {
            Some(known) => known == size,
            None => {
                self.set_size(position, size);
                true
            }
        }
    }
}
