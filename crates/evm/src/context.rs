//! The revm context of the zkEVM: block, transaction and journal, plus what one transaction needs beside them.

use revm::context::{BlockEnv, CfgEnv, Context, Journal, LocalContext, TxEnv};
use revm::context_interface::cfg::GasParams;
use revm::database_interface::Database;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, U256, address};

use revm::state::EvmState;

use super::access_log::AccessedLeaves;
use super::interrupt::Interrupt;
use zkevm_batch::observer::StateAccess;
use zkevm_tree::TreeRef;
use zkevm_types::ForkRules;

/// The system contract, whose storage holds block numbers and state roots (evm §7.3).
pub const SYSTEM_ADDRESS: Address = address!("000000000000000000000000000000005ca1ab1e");

/// Context type of the zkEVM over a database, under an observer.
pub type ZkContext<DB, O> = Context<BlockEnv, TxEnv, CfgEnv, DB, Journal<DB>, BatchScratch<O>, LocalContext>;

/// A database that can also answer for the leaves revm does not know.
pub trait StateDatabase: Database {
    /// Returns the code length leaf of an account (evm §7.2).
    fn code_length(&mut self, address: Address) -> Result<u64, Self::Error>;

    /// True if what `code_by_hash` returned only stands for code that is not there: revm loads code that the ROM may not.
    fn lacks_code(&self, code_hash: B256) -> bool;

    /// Notes code that the ROM loads now; fails if it is not there.
    fn require_code(&mut self, code_hash: B256) -> Result<(), Self::Error>;

    /// Returns the state root as if the running transaction's changes were written. Writes nothing.
    fn speculative_root(&mut self, state: &EvmState) -> Result<B256, Self::Error>;

    /// Hands out the state tree, and the version in which the running transaction started.
    fn with_state_access<R>(&mut self, look: impl FnOnce(TreeRef, StateAccess<'_, '_>) -> R) -> R;
}

/// The values that a transaction needs beside revm's own environment.
#[derive(Debug)]
pub struct BatchScratch<O> {
    /// Rules of the fork.
    pub rules: &'static ForkRules,
    /// Effective gas price, 256 bits where revm's own field has 128 (evm §11.8).
    pub gas_price: U256,
    /// GASPRICE ran.
    pub used_gasprice: bool,
    /// BALANCE ran.
    pub used_balance: bool,
    /// The effect that the last precompile call has on its caller's frame.
    pub precompile_effect: PrecompileEffect,
    /// The offset in memory of the last call's output, as the stack said; only noted where MODEXP needs it (evm Q6).
    pub output_offset: U256,
    /// The area of memory that the top frame's RETURN or REVERT names.
    pub(crate) returned: Option<(U256, U256)>,
    /// Refund counter of the frame that ran last.
    pub refund_counter: i64,
    /// Program counter of the top frame behind a create that met an existing account.
    pub collision_behind: Option<usize>,
    /// The top frame ended right there.
    pub ended_in_collision: bool,
    /// The run met code that never ends (evm Q7).
    pub never_ends: bool,
    /// The gas left of the frame in which the observer ended the run.
    pub given_up_at: Option<u64>,
    /// Every log made, reverted ones included, as (index within the transaction, hash); only when keys are asked for.
    pub log_hashes: Option<Vec<(u64, B256)>>,
    /// Leaves the ROM would have read or written.
    pub touched: AccessedLeaves,
    /// Whether to go on.
    pub interrupt: Interrupt,
    /// The observer that is told what happens.
    pub observer: O,
}

/// The way a precompile call departs from the ordinary return to its caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrecompileEffect {
    /// Nothing special.
    #[default]
    None,
    /// The precompile does not exist in this fork (evm §6.2).
    Unsupported,
    /// The caller's return data buffer stays as it was (evm Q4).
    KeepReturnData,
    /// The whole output goes to memory, however small the caller's area (evm Q6).
    CopyWholeOutput,
}

impl<O> BatchScratch<O> {
    /// Creates the scratch of a batch.
    pub fn new(rules: &'static ForkRules, interrupt: Interrupt, observer: O) -> Self {
        Self {
            rules,
            gas_price: U256::ZERO,
            used_gasprice: false,
            used_balance: false,
            precompile_effect: PrecompileEffect::None,
            output_offset: U256::ZERO,
            returned: None,
            refund_counter: 0,
            collision_behind: None,
            ended_in_collision: false,
            never_ends: false,
            given_up_at: None,
            log_hashes: None,
            touched: AccessedLeaves::default(),
            interrupt,
            observer,
        }
    }
}

/// Builds the context of a batch: London's rules with Berlin's gas (evm §11.1).
///
/// London brings EIP-3541; what else it adds (base fee, BASEFEE) is switched off here and in the instruction table.
pub fn new_context<DB: Database, O>(
    db: DB,
    rules: &'static ForkRules,
    chain_id: u64,
    interrupt: Interrupt,
    observer: O,
) -> ZkContext<DB, O> {
    let mut cfg = CfgEnv::new_with_spec_and_gas_params(SpecId::LONDON, GasParams::new_spec(SpecId::BERLIN));
    cfg.chain_id = chain_id;
    cfg.tx_gas_limit_cap = Some(u64::MAX);
    cfg.tx_chain_id_check = false;
    let mut context = Context::<BlockEnv, TxEnv, CfgEnv, DB, Journal<DB>, (), LocalContext>::new(db, SpecId::LONDON)
        .with_cfg(cfg)
        .with_chain(BatchScratch::new(rules, interrupt, observer));
    context.block = BlockEnv {
        basefee: 0,
        difficulty: U256::ZERO,
        prevrandao: None,
        gas_limit: rules.block_gas_limit,
        ..context.block
    };
    context
}
