//! What a stretch of a batch adds up to.

use super::lengths::{keccak_blocks, poseidon_blocks};
use super::rom_costs::reservations::Reservation;
use zkevm_types::Counters;

/// Numbers of digests, each of any length. The ROM numbers those of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Digests {
    pub(crate) keccak: u64,
    /// Linear Poseidon digests.
    pub(crate) poseidon: u64,
    pub(crate) sha256: u64,
}

impl Digests {
    /// The largest number of a kind.
    pub(crate) fn most(self) -> u64 {
        self.keccak.max(self.poseidon).max(self.sha256)
    }
}

impl std::ops::Add for Digests {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            keccak: self.keccak + other.keccak,
            poseidon: self.poseidon + other.poseidon,
            sha256: self.sha256 + other.sha256,
        }
    }
}

impl std::iter::Sum for Digests {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), std::ops::Add::add)
    }
}

/// What a stretch of the batch adds up to, opcodes of fixed price aside.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    /// Real keccak, Poseidon and SHA-256 counters; the other fields stay zero.
    pub(crate) real: Counters,
    /// What the model has charged.
    pub(crate) charged: Counters,
    /// The bound's share of the same: real costs where they are known, and operations the model does not price.
    pub(crate) bounded: Counters,
    /// The part of `bounded` that the ROM surely counts.
    pub(crate) sure: Counters,
    /// Largest sum of what was counted and what a check of the ROM wanted free.
    pub(crate) reserved: Counters,
    /// Largest of what the checks wanted.
    pub(crate) reservation: Counters,
    /// Digests made.
    pub(crate) digests: Digests,
    /// Contexts opened by calls and creates.
    pub(crate) contexts: u64,
}

impl Sums {
    /// Counts a keccak digest.
    #[inline]
    pub(crate) const fn keccak(&mut self, bytes: u64) {
        self.real.keccaks += keccak_blocks(bytes);
        self.digests.keccak += 1;
    }

    /// Counts a linear Poseidon digest.
    #[inline]
    pub(crate) const fn linear_poseidon(&mut self, bytes: u64) {
        let blocks = poseidon_blocks(bytes);
        self.real.poseidon_paddings += blocks;
        self.real.poseidons += blocks;
        self.digests.poseidon += 1;
    }

    /// Charges what is priced elsewhere.
    pub(crate) fn charge(&mut self, price: Counters) {
        self.charge_exact(price, price);
    }

    /// Charges the model for something whose real cost is known.
    pub(crate) fn charge_exact(&mut self, price: Counters, real: Counters) {
        self.charged += price;
        self.bounded += real;
    }

    /// Charges the model for something on a path of the ROM that is known row by row.
    pub(crate) fn charge_real(&mut self, price: Counters, real: Counters) {
        self.charge_exact(price, real);
        self.sure += real;
    }

    /// Says that of what was charged so much is surely counted by the ROM.
    pub(crate) fn is_sure(&mut self, real: Counters) {
        self.sure += real;
    }

    /// Leaves nothing of what was charged sure.
    pub(crate) fn leave_unsure(&mut self) {
        self.sure = Counters::default();
    }

    /// Adds to the bound what the model does not price.
    pub(crate) fn charge_bound_only(&mut self, price: Counters) {
        self.bounded += price;
    }

    /// Takes something back that was counted too early.
    pub(crate) fn take_back(&mut self, cost: Counters) {
        for sum in [&mut self.bounded, &mut self.sure] {
            sum.steps = sum.steps.saturating_sub(cost.steps);
            sum.binaries = sum.binaries.saturating_sub(cost.binaries);
        }
    }

    /// Takes all charges since `before` out of the model; the bound keeps them, and gets `more`.
    pub(crate) fn move_to_bound(&mut self, before: Counters, more: Counters) {
        self.charged = before;
        self.bounded += more;
    }

    /// Returns what is reported: keccaks, Poseidons and SHA-256 as the ROM counts them, the others as a bound.
    pub(crate) fn used(&self) -> Counters {
        let Counters { steps, arithmetics, binaries, mem_aligns, .. } = self.bounded;
        Counters { steps, arithmetics, binaries, mem_aligns, ..self.real }
    }

    /// Returns what the ROM surely counts of steps, arithmetics, binaries and mem-aligns. If that is all there is, the arithmetics
    /// that its checks want are sure as well.
    pub(crate) fn at_least(&self) -> Counters {
        let arithmetics = self.sure.arithmetics.max(self.reserved.arithmetics);
        if self.sure == self.bounded { Counters { arithmetics, ..self.sure } } else { self.sure }
    }

    /// Notes that a check of the ROM wants so much free.
    pub(crate) fn reserve(&mut self, reservation: Reservation) {
        self.reservation = self.reservation.max(reservation.stated);
        self.reserved = self.reserved.max(self.used() + reservation.beyond);
    }

    /// Returns the sums of this stretch and one before it, as if both had been one.
    pub(crate) fn after(self, earlier: Self) -> Self {
        let reserves = self.reserved != Counters::default();
        let reserved = if reserves { earlier.used() + self.reserved } else { Counters::default() };
        Self {
            real: self.real + earlier.real,
            charged: self.charged + earlier.charged,
            bounded: self.bounded + earlier.bounded,
            sure: self.sure + earlier.sure,
            reserved: reserved.max(earlier.reserved),
            reservation: self.reservation.max(earlier.reservation),
            digests: self.digests + earlier.digests,
            contexts: self.contexts + earlier.contexts,
        }
    }
}

/// What decoding items comes to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decoded {
    /// What was counted, of the items told so far.
    pub(crate) sums: Sums,
    /// The most that it can be, of all items: keccaks and paddings if every key is recovered. Only under policy `enforce`. Known
    /// before any key is: how far recovery is ahead of the run must not show in an answer.
    pub(crate) at_most: Counters,
    /// Digests made at most, of all items.
    pub(crate) digests: Digests,
    /// All items.
    pub(crate) items: u64,
}
