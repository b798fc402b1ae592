//! Chooses the kind of each batch by weights.

use std::str::FromStr;

use zkevm_testkit::sample::Kind;

const WEIGHT_MAX: u64 = 1_000_000;

/// Kinds of batches with their weights, like `transfers:80,tokens:20`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WorkloadMix {
    parts: Vec<(Kind, u64)>,
    total: u64,
    /// Other bits give another order of kinds.
    seed_bits: u64,
    /// The batches are stateless ones.
    is_stateless: bool,
}

/// The word for stateless batches, and the kinds of their transactions.
const STATELESS: &str = "stateless";
const STATELESS_KINDS: &str = "transfers:80,tokens:20";

impl WorkloadMix {
    /// Returns the same kinds in the order of this seed.
    pub(super) fn seeded(self, seed: Option<u64>) -> Self {
        Self { seed_bits: seed.map_or(0, scramble), ..self }
    }

    /// True if the batches bring their state along.
    pub(super) fn is_stateless(&self) -> bool {
        self.is_stateless
    }

    /// Returns the kind of a client's batch: the same for the same numbers, spread by the weights.
    pub(super) fn kind(&self, client: u64, batch: u64) -> Kind {
        let mut point = scramble(client << 32 ^ batch ^ self.seed_bits) % self.total;
        for (kind, weight) in &self.parts {
            if point < *weight {
                return *kind;
            }
            point -= weight;
        }
        Kind::Transfers
    }
}

impl FromStr for WorkloadMix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == STATELESS {
            return Ok(Self { is_stateless: true, ..STATELESS_KINDS.parse()? });
        }
        let mut parts: Vec<(Kind, u64)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once(':').unwrap_or((part, "1"));
            let kind = match name.trim() {
                "transfers" => Kind::Transfers,
                "tokens" => Kind::TokenTransfers,
                STATELESS => return Err(format!("{STATELESS} has no weight, and stands alone")),
                other => return Err(format!("unknown kind {other:?}: use transfers and tokens, or {STATELESS}")),
            };
            let weight: u64 = weight.trim().parse().map_err(|_| format!("{weight:?} is no weight"))?;
            if weight > WEIGHT_MAX {
                return Err(format!("a weight is at most {WEIGHT_MAX}"));
            }
            if parts.iter().any(|(known, _)| *known == kind) {
                return Err(format!("{name} is named twice"));
            }
            parts.push((kind, weight));
        }
        match parts.iter().map(|(_, weight)| weight).sum() {
            0 => Err("all weights are 0".into()),
            total => Ok(Self { parts, total, seed_bits: 0, is_stateless: false }),
        }
    }
}

/// Mixes the bits of a number (the finalizer of SplitMix64).
fn scramble(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_by_their_weights() {
        let mix: WorkloadMix = "transfers:80,tokens:20".parse().unwrap();
        let tokens = (0..10_000).filter(|batch| mix.kind(batch % 7, *batch) == Kind::TokenTransfers).count();
        assert!((1_800..2_200).contains(&tokens), "{tokens}");
        let kinds = |mix: &WorkloadMix| (0..100).map(|batch| mix.kind(0, batch)).collect::<Vec<_>>();
        let seeded = |seed| kinds(&mix.clone().seeded(seed));
        assert_eq!((seeded(Some(1)), seeded(None)), (seeded(Some(1)), kinds(&mix)));
        assert_ne!(seeded(Some(1)), seeded(Some(2)));
        let stateless: WorkloadMix = STATELESS.parse().unwrap();
        assert!(stateless.is_stateless() && !mix.is_stateless());
        assert_eq!(kinds(&stateless), kinds(&mix));
        let only: WorkloadMix = "tokens".parse().unwrap();
        assert!((0..100).all(|batch| only.kind(3, batch) == Kind::TokenTransfers));
    }

    #[test]
    fn a_wrong_mix_is_refused() {
        for text in
            ["", "nfts:3", "transfers:x", "transfers:0", "tokens:1,tokens:2", "transfers:99999999", "stateless:2"]
        {
            assert!(text.parse::<WorkloadMix>().is_err(), "{text}");
        }
    }
}
