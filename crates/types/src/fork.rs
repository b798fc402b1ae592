//! The one table of fork rules. Code asks it for a rule and never compares fork numbers itself.

use alloy_primitives::Address;

use crate::Counters;

/// A fork id of the zkEVM that this build executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ForkId(u64);

impl ForkId {
    /// Returns the fork with this number if this build executes it.
    pub fn new(id: u64) -> Option<Self> {
        TABLE.iter().any(|rules| rules.id == id).then_some(Self(id))
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the rules of this fork.
    pub fn rules(self) -> &'static ForkRules {
        TABLE.iter().find(|rules| rules.id == self.0).unwrap_or(&TABLE[0])
    }
}

impl std::fmt::Display for ForkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The RPC, one of two, that carries a fork's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// `ProcessBatch`.
    V1,
    /// `ProcessBatchV2`.
    V2,
}

/// The shape of logs in the response (batch §12.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogShape {
    /// Data padded to whole words, an empty LOG0 missing, index per transaction.
    Padded,
    /// Exact data, every log present, index per block.
    Exact,
}

/// The rules of recovery that depend on the fork.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecoveryRules {
    /// A public key at infinity is accepted as an address of its own (evm Q5).
    pub infinity_bug: bool,
    /// The zk counters depend on the parity of the root that the ROM's exponent yields.
    pub roots_count: bool,
}

/// Revision of the virtual counter model (counters §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterRevision {
    /// Forks up to 7.
    R7,
    /// Forks 8 to 12.
    R12,
    /// Fork 13.
    R13,
}

/// ROM whose path lengths the zk counters follow (exact-counters §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RomVersion {
    /// Of fork 4.
    Rom4,
    /// Of fork 5.
    Rom5,
    /// Of fork 6.
    Rom6,
    /// Of fork 7.
    Rom7,
    /// Of forks 8 to 11.
    Rom8,
    /// Of fork 12.
    Rom12,
    /// Of fork 13.
    Rom13,
}

/// The rules of one fork (evm §1, batch §1).
#[derive(Clone, Copy, Debug)]
pub struct ForkRules {
    /// Fork id.
    pub id: u64,
    /// RPC that carries this fork's batches; V2 batches hold L2 blocks.
    pub api: ApiVersion,
    /// PUSH0 (EIP-3855) exists.
    pub push0: bool,
    /// A percentage byte follows each transaction and scales its gas price.
    pub effective_percentage: bool,
    /// Value of GASLIMIT and of the header leaf.
    pub block_gas_limit: u64,
    /// Steps of the main state machine in one proof; the sizes of all others follow from it (counters §3.1).
    pub steps: u64,
    /// Of each state machine's rows one in so many is kept free (counters §3.1).
    pub safe_range: u64,
    /// Precompiles 1 to 9 that run; bit n = address n.
    pub precompiles: u16,
    /// P256VERIFY is a precompile at 0x100 (later-forks §4.1).
    pub p256_verify: bool,
    /// P256VERIFY of a well-formed signature that is wrong keeps the return data of the call before (evm Q14). The first public
    /// ROM of fork 13 does; the next one, taken for what is in use, does not (later-forks §4.1).
    pub p256_keeps_returndata_of_wrong_signature: bool,
    /// Recovery to the point at infinity yields an address (evm Q5).
    pub ecrecover_infinity_bug: bool,
    /// Initcode can be read as call data (evm Q2).
    pub initcode_visible_as_calldata: bool,
    /// Calling an unsupported precompile keeps the old return data (evm Q1).
    pub stale_returndata_on_unsupported_precompile: bool,
    /// A create rejected for 0xEF adds the child's refunds to the parent's (evm Q3).
    pub ef_create_leaks_refund: bool,
    /// Status of a transaction straight to an unsupported precompile (evm Q8).
    pub unsupported_precompile_top_level_status: bool,
    /// Modexp writes its whole output to memory (evm Q6).
    pub modexp_copies_whole_output: bool,
    /// Modexp leaves the partial top word of its output shifted in its buffer (evm §6.3, Q15).
    pub modexp_keeps_shifted_top_word: bool,
    /// Code that ends in a PUSH without immediate never ends (evm Q7). Forks 10 and 11 were built both ways; what is proven
    /// on L1 ends (later-forks §1).
    pub truncated_push_loops: bool,
    /// The STOP right behind a create that met an account is never seen: the create's error is the transaction's
    /// (later-forks §7).
    pub stop_hides_behind_failed_create: bool,
    /// A failed create leaves its address warm (evm Q9).
    pub failed_create_leaves_address_warm: bool,
    /// An undecodable batch yields one response entry (V1, batch §3.3).
    pub invalid_rlp_listed: bool,
    /// The all-zero L1 info leaf has its own error (batch §7.1).
    pub zero_l1_leaf_rule: bool,
    /// Results are listed by the ROM's transaction index, which skipped transactions do not advance (batch §12.4).
    pub results_follow_rom_index: bool,
    /// A trace reads the length of the batch's last RLP list, which the ROM keeps at the same place, as the gas kept by the
    /// caller of the outermost frame.
    pub outermost_caller_keeps_rlp_length: bool,
    /// A CALLDATACOPY, and a CODECOPY of init code, leaves the height of the stack where a trace reads the gas kept by the caller
    /// of the outermost frame.
    pub calldatacopy_sets_outermost_gas: bool,
    /// A trace shows what a create returned also at the start of the next transaction: the ROM does not say that another
    /// context runs (main-state-machine §9.7).
    pub created_shown_across_transactions: bool,
    /// A traced SSTORE shows its slot before gas and the static flag are checked.
    pub storage_traced_before_gas: bool,
    /// A stateless batch of which nothing is kept takes a flush id all the same.
    pub stateless_takes_flush_id: bool,
    /// Without counters a LOG0 is noted like other opcodes are with them (later-forks §7).
    pub uncounted_log0_noted: bool,
    /// A LOG pays for its topics before the static flag is looked at.
    pub logs_charge_topics_first: bool,
    /// The shape of logs in the response.
    pub logs: LogShape,
    /// Prices of the virtual counter model (counters §5).
    pub counter_prices: CounterRevision,
    /// Path lengths of the ROM, where they are known.
    pub rom: Option<RomVersion>,
    /// Steps that a batch may take when zk counters are not counted (main-state-machine §3.4, later-forks §7).
    pub uncounted_steps_max: u64,
    /// Digests of one kind that a batch may make: beyond, their numbers are out of range (later-forks §7).
    pub digests_max: u64,
    /// Highest number of a context that a proof has room for, if there is one (main-state-machine §4.3).
    pub contexts_max: Option<u64>,
    /// The zk counters of a recovery depend on the parity of the root that the ROM's exponent yields.
    pub recovery_negates_roots: bool,
    /// Binaries that the precompile recovering a key takes beyond those of the later ROM, at most: one comparison per
    /// bit pair.
    pub recovery_extra_binaries: u64,
    /// Calls copy their arguments word by word when they start.
    pub calls_copy_arguments: bool,
    /// read_write_addresses carries code and storage too.
    pub touched_accounts_in_full: bool,
}

const V1_PRECOMPILES: u16 = 1 << 1 | 1 << 4;
const NO_MODEXP: u16 = V1_PRECOMPILES | 1 << 2 | 1 << 6 | 1 << 7 | 1 << 8;

impl ForkRules {
    /// Returns how keys are recovered from signatures.
    pub fn recovery(&self) -> RecoveryRules {
        RecoveryRules { infinity_bug: self.ecrecover_infinity_bug, roots_count: self.recovery_negates_roots }
    }
}

const FORK_4: ForkRules = ForkRules {
    id: 4,
    api: ApiVersion::V1,
    push0: false,
    effective_percentage: false,
    block_gas_limit: 30_000_000,
    steps: 1 << 23,
    safe_range: 20,
    precompiles: V1_PRECOMPILES,
    p256_verify: false,
    p256_keeps_returndata_of_wrong_signature: false,
    ecrecover_infinity_bug: true,
    initcode_visible_as_calldata: true,
    stale_returndata_on_unsupported_precompile: true,
    ef_create_leaks_refund: true,
    unsupported_precompile_top_level_status: false,
    modexp_copies_whole_output: false,
    modexp_keeps_shifted_top_word: false,
    results_follow_rom_index: false,
    outermost_caller_keeps_rlp_length: false,
    calldatacopy_sets_outermost_gas: true,
    created_shown_across_transactions: true,
    storage_traced_before_gas: false,
    truncated_push_loops: false,
    stop_hides_behind_failed_create: true,
    failed_create_leaves_address_warm: false,
    invalid_rlp_listed: false,
    zero_l1_leaf_rule: false,
    stateless_takes_flush_id: true,
    uncounted_log0_noted: false,
    logs_charge_topics_first: false,
    logs: LogShape::Padded,
    counter_prices: CounterRevision::R7,
    rom: Some(RomVersion::Rom4),
    uncounted_steps_max: 8 << 23,
    digests_max: (1 << 16) - 2048 - 1,
    contexts_max: None,
    recovery_negates_roots: true,
    recovery_extra_binaries: 264,
    calls_copy_arguments: true,
    touched_accounts_in_full: false,
};

const FORK_5: ForkRules = ForkRules {
    id: 5,
    push0: true,
    effective_percentage: true,
    initcode_visible_as_calldata: false,
    stale_returndata_on_unsupported_precompile: false,
    ef_create_leaks_refund: false,
    invalid_rlp_listed: true,
    calldatacopy_sets_outermost_gas: false,
    created_shown_across_transactions: false,
    storage_traced_before_gas: true,
    calls_copy_arguments: false,
    rom: Some(RomVersion::Rom5),
    ..FORK_4
};

const FORK_6: ForkRules = ForkRules {
    id: 6,
    ecrecover_infinity_bug: false,
    rom: Some(RomVersion::Rom6),
    recovery_negates_roots: false,
    recovery_extra_binaries: 0,
    ..FORK_5
};

const FORK_7: ForkRules = ForkRules {
    id: 7,
    api: ApiVersion::V2,
    block_gas_limit: u64::MAX,
    precompiles: NO_MODEXP | 1 << 5,
    unsupported_precompile_top_level_status: true,
    modexp_copies_whole_output: true,
    results_follow_rom_index: true,
    outermost_caller_keeps_rlp_length: true,
    rom: Some(RomVersion::Rom7),
    ..FORK_6
};

const FORK_8: ForkRules = ForkRules {
    id: 8,
    block_gas_limit: 1 << 50,
    precompiles: NO_MODEXP,
    unsupported_precompile_top_level_status: false,
    modexp_copies_whole_output: false,
    results_follow_rom_index: false,
    truncated_push_loops: true,
    logs_charge_topics_first: true,
    logs: LogShape::Exact,
    touched_accounts_in_full: true,
    counter_prices: CounterRevision::R12,
    rom: Some(RomVersion::Rom8),
    ..FORK_7
};

const FORK_9: ForkRules = ForkRules { id: 9, zero_l1_leaf_rule: true, ..FORK_8 };

const FORK_10: ForkRules = ForkRules {
    id: 10,
    steps: 1 << 24,
    safe_range: 40,
    uncounted_steps_max: 256 << 24,
    contexts_max: Some(8191),
    truncated_push_loops: false,
    stateless_takes_flush_id: false,
    uncounted_log0_noted: true,
    stop_hides_behind_failed_create: false,
    ..FORK_9
};

const FORK_11: ForkRules =
    ForkRules { id: 11, steps: 1 << 25, safe_range: 80, uncounted_steps_max: 256 << 25, ..FORK_10 };

const FORK_12: ForkRules =
    ForkRules { id: 12, failed_create_leaves_address_warm: true, rom: Some(RomVersion::Rom12), ..FORK_11 };

const FORK_13: ForkRules = ForkRules {
    id: 13,
    precompiles: NO_MODEXP | 1 << 5,
    p256_verify: true,
    modexp_keeps_shifted_top_word: true,
    counter_prices: CounterRevision::R13,
    rom: Some(RomVersion::Rom13),
    ..FORK_12
};

/// Forks 1 to 3 follow the rules of fork 4 wherever a vector or a recording shows them.
const FORK_1: ForkRules = ForkRules { id: 1, rom: None, recovery_negates_roots: false, ..FORK_4 };
const FORK_2: ForkRules = ForkRules { id: 2, ..FORK_1 };
const FORK_3: ForkRules = ForkRules { id: 3, ..FORK_1 };

const TABLE: [ForkRules; 13] =
    [FORK_1, FORK_2, FORK_3, FORK_4, FORK_5, FORK_6, FORK_7, FORK_8, FORK_9, FORK_10, FORK_11, FORK_12, FORK_13];

/// Largest gas limit of a transaction, all forks (batch §2).
pub const TX_GAS_LIMIT_MAX: u64 = 30_000_000;

/// Number of P256VERIFY's address.
pub const P256_VERIFY: u16 = 0x100;

/// Highest address number below P256VERIFY that is always present, warm and never run as an account (evm §6.2).
const LAST_PRECOMPILE: u16 = 9;

/// Steps and keccaks that every batch keeps for its end, and rows of the state machines to one digest or tree access
/// (counters §3.1).
const LAST_STEPS: u64 = 200;
const KECCAK_ROWS: u64 = 155_286;
const KECCAKS_AT_ONCE: u64 = 44;
const SHA256_ROWS: u64 = 31_488;
const SHA256S_AT_ONCE: u64 = 7;

impl ForkRules {
    /// True if the precompile at this address number runs in this fork.
    pub const fn has_precompile(&self, number: u16) -> bool {
        match number {
            P256_VERIFY => self.p256_verify,
            _ => number <= LAST_PRECOMPILE && self.precompiles & (1 << number) != 0,
        }
    }

    /// Returns the numbers of the addresses that are always warm and never run as accounts, supported or not.
    pub fn precompile_numbers(&self) -> impl Iterator<Item = u16> {
        (1..=LAST_PRECOMPILE).chain(self.p256_verify.then_some(P256_VERIFY))
    }

    /// Returns the number of such an address, supported or not.
    #[inline]
    pub fn precompile_number(&self, address: &Address) -> Option<u16> {
        let (rest, last) = address.split_last_chunk::<2>()?;
        let number = u16::from_be_bytes(*last);
        let is_one = (1..=LAST_PRECOMPILE).contains(&number) || (number == P256_VERIFY && self.p256_verify);
        (is_one && rest.iter().all(|&byte| byte == 0)).then_some(number)
    }

    /// Returns what the ROM checks a batch's zk counters against: the rows of each state machine, less those kept free
    /// (counters §3.1). SHA-256 is counted from fork 7 on.
    pub const fn counters_max(&self) -> Counters {
        let steps = self.steps;
        let mut limits = [
            steps - LAST_STEPS,
            steps / 32,
            steps / 16,
            steps / 32,
            KECCAKS_AT_ONCE * (steps / KECCAK_ROWS),
            steps / 56,
            steps / 30,
            SHA256S_AT_ONCE * ((steps - 1) / SHA256_ROWS),
        ];
        let mut place = 0;
        while place < limits.len() {
            limits[place] -= limits[place] / self.safe_range;
            place += 1;
        }
        Counters::from_array(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The MAX rows of counters §3.1.
    #[test]
    fn counter_limits_are_those_of_the_specification() {
        let nine = [7_968_988, 249_037, 498_074, 249_037, 2258, 142_307, 265_639, 1769];
        let ten = [16_357_591, 511_181, 1_022_362, 511_181, 4634, 292_104, 545_259, 3631];
        let later = [33_134_805, 1_035_469, 2_070_938, 1_035_469, 9386, 591_697, 1_104_500, 7362];
        for rules in &TABLE {
            let expected = match rules.id {
                ..=9 => nine,
                10 => ten,
                _ => later,
            };
            assert_eq!(rules.counters_max().to_array(), expected, "fork {}", rules.id);
        }
    }

    #[test]
    fn precompile_addresses_have_their_number_as_last_bytes() {
        let address = |number: u16| Address::left_padding_from(&number.to_be_bytes());
        for rules in &TABLE {
            let numbers: Vec<u16> = (0..0x300).filter_map(|number| rules.precompile_number(&address(number))).collect();
            assert_eq!(numbers, rules.precompile_numbers().collect::<Vec<_>>(), "fork {}", rules.id);
            let mut other = address(1);
            other[0] = 1;
            assert_eq!(rules.precompile_number(&other), None);
        }
    }
}
