//! Runs one transaction: revm's frames and phases, with the zkEVM's own where they differ (evm §3, §4, §11.5).

mod handler;

use revm::context::result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction, ResultGas};
use revm::context::{ContextTr, Evm, TxEnv};
use revm::context_interface::context::ContextError;
use revm::context_interface::journaled_state::TransferError;
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::context_interface::{FrameStack, JournalTr, LocalContextTr};
use revm::handler::evm::{ContextDbError, FrameInitResult};
use revm::handler::{CreateFrame, EthFrame, EvmTr, FrameData, FrameInitOrResult, FrameResult, Handler, ItemOrResult};
use revm::interpreter::interpreter::{EthInterpreter, ExtBytecode};
use revm::interpreter::interpreter_action::FrameInit;
use revm::interpreter::interpreter_types::{Jumps, ReturnData};
use revm::interpreter::{
    CallInput, CallInputs, CallValue, CreateOutcome, CreateScheme, FrameInput, Gas, InitialAndFloorGas, InputsImpl,
    InstructionResult, InterpreterAction, InterpreterResult,
};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, Bytes, KECCAK_EMPTY, Log, U256};
use revm::state::EvmState;

use super::access_log::{AccessedLeaves, AccountLeaves};
use super::bytecode::ends_in_bare_push;
use super::context::{BatchScratch, PrecompileEffect, StateDatabase, ZkContext, new_context};
use super::error_order;
use super::errors::rom_error;
use super::instructions::{ZkInstructions, endless_push_table, instruction_table};
use super::interrupt::{FRAME_STEPS, Interrupt};
use super::modexp::ModexpBuffer;
use super::modexp_memory::{self, UnpaidMemory};
use super::observer::{CreateStart, EvmObserver};
use super::precompiles::ZkPrecompiles;
use super::returned::memory_at;
use super::trace::{TraceCarryOver, TraceOptions, Tracer};
use super::traced_run::run_traced;
use super::transaction::{EvmFailure, TxCall, TxOutcome};
use super::transfer;
use super::unchecked::{push_frame, with_unchecked_jumpdests};
use zkevm_tree::linear_hash;
use zkevm_types::ForkRules;
use zkevm_types::{RomError, TraceSteps};

use handler::ZkHandler;

/// Largest deployed code, in bytes (EIP-170).
const CODE_SIZE_MAX_BYTES: usize = 24_576;
/// Gas per byte of deployed code.
const CODE_DEPOSIT_GAS: u64 = 200;
/// First byte no deployed code may have (EIP-3541).
const RESERVED_CODE_PREFIX: u8 = 0xef;

type Inner<DB, O> = Evm<ZkContext<DB, O>, (), ZkInstructions<DB, O>, ZkPrecompiles, EthFrame<EthInterpreter>>;

/// What the transactions of a batch leave to those after them, beside the state: flags, touched leaves, MODEXP's buffer.
#[derive(Clone, Debug)]
pub struct CarriedOver {
    used_gasprice: bool,
    used_balance: bool,
    touched: AccessedLeaves,
    modexp: ModexpBuffer,
}

impl CarriedOver {
    /// Returns its size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.touched.bytes()
    }
}

/// The EVM of one batch, under an observer.
pub struct ZkEvm<DB: StateDatabase, O: EvmObserver> {
    inner: Inner<DB, O>,
    /// Table for code that ends in a bare PUSH, in forks where that never ends.
    endless_push: Option<ZkInstructions<DB, O>>,
    /// Programs deployed by the running transaction: Poseidon hash and code.
    new_programs: Vec<(B256, Bytes)>,
    /// What a transaction had changed when the database failed.
    abandoned: EvmState,
    /// Records the running transaction, if it was asked for.
    tracer: Option<Box<Tracer>>,
    /// What traces show of the transactions before them.
    carry_over: TraceCarryOver,
    /// What MODEXP wrote behind the end of memory.
    unpaid: UnpaidMemory,
    /// Memory of the frames that has been taken.
    frame_memory_bytes: usize,
    /// The running transaction ran an opcode.
    ran_opcodes: bool,
}

impl<DB: StateDatabase, O: EvmObserver> ZkEvm<DB, O> {
    /// Creates the EVM of a batch.
    pub fn new(db: DB, rules: &'static ForkRules, chain_id: u64, interrupt: Interrupt, observer: O) -> Self {
        let table = instruction_table(rules);
        let endless_push = rules.truncated_push_loops.then(|| endless_push_table(table.clone()));
        let inner = Evm::new(new_context(db, rules, chain_id, interrupt, observer), table, ZkPrecompiles::new(rules));
        Self {
            inner,
            endless_push,
            new_programs: Vec::new(),
            abandoned: EvmState::default(),
            tracer: None,
            carry_over: TraceCarryOver::default(),
            unpaid: UnpaidMemory::default(),
            frame_memory_bytes: 0,
            ran_opcodes: false,
        }
    }

    /// Sets the gas that traces take the caller of the outermost frame to keep back.
    pub fn outermost_caller_keeps(&mut self, gas: u64) {
        self.carry_over.outer_caller_gas = gas;
    }

    /// Returns the context: block values, scratch, database.
    pub fn context(&mut self) -> &mut ZkContext<DB, O> {
        &mut self.inner.ctx
    }

    /// Returns the database.
    pub fn db(&mut self) -> &mut DB {
        &mut self.inner.ctx.journaled_state.database
    }

    /// Returns the observer.
    pub fn observer(&mut self) -> &mut O {
        &mut self.inner.ctx.chain.observer
    }

    /// Returns the observer and the database it may ask.
    pub fn observer_and_db(&mut self) -> (&mut O, &mut DB) {
        let ZkContext { chain, journaled_state, .. } = &mut self.inner.ctx;
        (&mut chain.observer, &mut journaled_state.database)
    }

    /// Returns what later transactions of the batch take over from those that ran.
    pub fn carried_over(&self) -> CarriedOver {
        let BatchScratch { used_gasprice, used_balance, touched, .. } = &self.inner.ctx.chain;
        CarriedOver {
            used_gasprice: *used_gasprice,
            used_balance: *used_balance,
            touched: touched.clone(),
            modexp: self.inner.precompiles.modexp().clone(),
        }
    }

    /// Goes on from where another EVM left a batch, of the same fork and without traces.
    pub fn go_on_from(&mut self, before: &CarriedOver) {
        let CarriedOver { used_gasprice, used_balance, touched, modexp } = before;
        let scratch = &mut self.inner.ctx.chain;
        (scratch.used_gasprice, scratch.used_balance) = (*used_gasprice, *used_balance);
        scratch.touched = touched.clone();
        *self.inner.precompiles.modexp_mut() = modexp.clone();
    }

    /// Takes what a transaction had changed when the database failed.
    pub fn take_abandoned(&mut self) -> EvmState {
        std::mem::take(&mut self.abandoned)
    }

    /// Returns the observer of a batch that is over.
    pub fn into_observer(self) -> O {
        self.inner.ctx.chain.observer
    }

    /// Runs a transaction, fees included, and returns the touched state. The database is not written.
    pub fn transact(&mut self, tx: &TxCall, trace: Option<TraceOptions>) -> Result<TxOutcome, EvmFailure<DB::Error>> {
        let rules = self.inner.ctx.chain.rules;
        self.tracer = trace.map(|options| Box::new(Tracer::new(options, rules, std::mem::take(&mut self.carry_over))));
        let scratch = &mut self.inner.ctx.chain;
        scratch.gas_price = tx.gas_price;
        scratch.precompile_effect = PrecompileEffect::None;
        scratch.refund_counter = 0;
        scratch.returned = None;
        scratch.collision_behind = None;
        scratch.ended_in_collision = false;
        self.new_programs.clear();
        self.unpaid.clear();
        self.ran_opcodes = false;
        self.inner.ctx.tx = TxEnv {
            tx_type: 0,
            caller: tx.caller,
            gas_limit: tx.gas_limit,
            gas_price: 0,
            kind: tx.kind,
            value: tx.value,
            data: tx.data.clone(),
            nonce: tx.nonce,
            chain_id: None,
            ..TxEnv::default()
        };
        let mut handler = ZkHandler { intrinsic_gas: tx.intrinsic_gas, end: None, _evm: Default::default() };
        let run = handler.run(self);
        let never_ends = std::mem::take(&mut self.inner.ctx.chain.never_ends);
        let given_up_at = self.inner.ctx.chain.given_up_at.take();
        let state = self.inner.ctx.journaled_state.finalize();
        if let Some(cancelled) = self.inner.ctx.chain.interrupt.reason() {
            return Err(EvmFailure::Cancelled(cancelled));
        }
        if never_ends {
            return Err(EvmFailure::NeverEnds);
        }
        if let Some(gas_left) = given_up_at {
            self.abandoned = state;
            return Err(EvmFailure::GivenUp { gas_left });
        }
        match run {
            Ok(_) => {}
            Err(EVMError::Database(error)) => {
                self.abandoned = state;
                return Err(EvmFailure::Database(error));
            }
            Err(other) => return Err(EvmFailure::Internal(other.to_string())),
        }
        let Some(end) = handler.end else {
            return Err(EvmFailure::Internal("the run has no end".into()));
        };
        let mut steps = TraceSteps::default();
        if let Some(tracer) = self.tracer.take() {
            (steps, self.carry_over) = tracer.finish(end.gas_left);
        }
        let created = tx.kind.is_create().then(|| tx.caller.create(tx.nonce));
        Ok(TxOutcome {
            result: end.result,
            gas_left: end.gas_left,
            output: end.output,
            logs: end.logs,
            state,
            new_programs: std::mem::take(&mut self.new_programs),
            created,
            steps,
            refund_counter: self.inner.ctx.chain.refund_counter.max(0) as u64,
            unsupported_precompile: end.unsupported_precompile,
            ran_opcodes: self.ran_opcodes,
            ended_in_collision: self.inner.ctx.chain.ended_in_collision,
        })
    }

    /// Starts a traced call to an account without code: it succeeds at once, and the original shows its STOP.
    fn trace_codeless_call(
        &mut self,
        init: FrameInit,
        depth: u32,
    ) -> Result<FrameInitResult<'_, EthFrame<EthInterpreter>>, ContextDbError<ZkContext<DB, O>>> {
        let FrameInput::Call(inputs) = &init.frame_input else {
            return Err(ContextError::Custom("not a call".into()));
        };
        let call = inputs.clone();
        let data = Bytes::copy_from_slice(&call.input.as_bytes(&self.inner.ctx));
        let Some(result) = self.start_call(init)? else {
            return Err(ContextError::Custom("a frame without code".into()));
        };
        if let Some(tracer) = &mut self.tracer
            && result.instruction_result().is_ok()
        {
            if tracer.shows_roots() {
                let journal = &mut self.inner.ctx.journaled_state;
                tracer.set_root(journal.database.speculative_root(&journal.inner.state)?);
            }
            tracer.codeless_call(&call, data, depth);
        }
        Ok(ItemOrResult::Result(result))
    }

    /// Counts the start of a frame, and the memory of the frames that wait for it. True if the batch is to stop.
    fn stops_before_frame(&mut self) -> bool {
        let interrupt = &mut self.inner.ctx.chain.interrupt;
        if interrupt.spend(FRAME_STEPS) {
            return true;
        }
        // All frames of a transaction share one buffer, whose memory stays with the batch.
        let bytes = self.inner.ctx.local.shared_memory_buffer().borrow().capacity();
        let more = bytes.saturating_sub(self.frame_memory_bytes);
        self.frame_memory_bytes = self.frame_memory_bytes.max(bytes);
        more > 0 && interrupt.take(more)
    }

    /// Starts a call: its frame is on the stack, or it is over already. A sum beyond 2^256 wraps around as in the ROM; revm
    /// never sees such a transfer.
    fn start_call(&mut self, mut init: FrameInit) -> Result<Option<FrameResult>, ContextDbError<ZkContext<DB, O>>> {
        let mut wrapping = None;
        if let FrameInput::Call(inputs) = &mut init.frame_input
            && let CallValue::Transfer(value) = inputs.value
            && transfer::wraps(&self.inner.ctx.journaled_state, inputs.caller, inputs.target_address, value)
        {
            wrapping = Some((inputs.caller, inputs.target_address, value));
            inputs.value = CallValue::Apparent(value);
        }
        let result = match self.inner.frame_init(init)? {
            ItemOrResult::Result(result) => Some(result),
            ItemOrResult::Item(_) => None,
        };
        // The frame that was started has taken its checkpoint already, one that is over has kept its changes or not.
        if let Some((from, to, value)) = wrapping
            && result.as_ref().is_none_or(|result| result.instruction_result().is_ok())
        {
            transfer::move_wrapping(&mut self.inner.ctx.journaled_state, from, to, value)?;
        }
        Ok(result)
    }

    /// Returns the refund counter with which a called frame starts; only a trace needs it.
    fn refund_of_callers(&mut self) -> u64 {
        match &self.tracer {
            Some(tracer) if self.inner.frame_stack.index().is_some() => {
                tracer.refund_counter(&self.inner.frame_stack.get().interpreter)
            }
            _ => 0,
        }
    }

    /// Records what the ROM reads to start a call: the balances if value moves, then the code (evm §4.1). Fails if that code is
    /// not there.
    fn touch_call(&mut self, inputs: &CallInputs) -> Result<(), DB::Error> {
        let scratch = &mut self.inner.ctx.chain;
        let precompile = scratch.rules.precompile_number(&inputs.bytecode_address);
        if precompile.is_some_and(|number| !scratch.rules.has_precompile(number)) {
            // The ROM reverts such a call before it looks at the balance.
            scratch.precompile_effect = PrecompileEffect::Unsupported;
            return Ok(());
        }
        let value = inputs.value.transfer().unwrap_or_default();
        if !value.is_zero() {
            scratch.touched.account(inputs.caller, AccountLeaves::BALANCE);
            let state = &self.inner.ctx.journaled_state.inner.state;
            if state.get(&inputs.caller).is_some_and(|caller| caller.info.balance < value) {
                return Ok(());
            }
            scratch.touched.account(inputs.target_address, AccountLeaves::BALANCE);
        }
        if precompile.is_none() {
            let (code_hash, code) = &inputs.known_bytecode;
            let has_code = !code.is_empty();
            scratch.touched.code(inputs.bytecode_address, AccountLeaves::of_code(has_code), has_code);
            if has_code {
                return self.inner.ctx.journaled_state.database.require_code(*code_hash);
            }
        }
        Ok(())
    }

    /// Starts a create frame: collision, nonce, value and warmth in the ROM's order (evm §4.2).
    fn init_create_frame(&mut self, init: FrameInit) -> Result<Option<FrameResult>, ContextDbError<ZkContext<DB, O>>> {
        let FrameInit { frame_input, memory, depth } = init;
        let FrameInput::Create(inputs) = frame_input else {
            return Err(ContextError::Custom("not a create frame".into()));
        };
        let failed = |result| {
            let result = InterpreterResult::new(result, Bytes::new(), Gas::new(inputs.gas_limit()));
            Ok(Some(FrameResult::Create(CreateOutcome::new(result, None))))
        };
        let rules = self.inner.ctx.chain.rules;
        let journal = &mut self.inner.ctx.journaled_state;
        let BatchScratch { touched, observer, .. } = &mut self.inner.ctx.chain;
        let mut caller = journal.load_account_mut(inputs.caller())?.data;
        // The nonce of a deploy transaction was bumped with the fee, its balance checked before: both survive what follows.
        let mut nonce = self.inner.ctx.tx.nonce;
        if depth > 0 {
            nonce = caller.nonce();
            touched.account(inputs.caller(), AccountLeaves::BALANCE);
            if *caller.balance() < inputs.value() {
                observer.create_started(&inputs, depth, CreateStart::NoFunds);
                return failed(InstructionResult::OutOfFunds);
            }
            touched.account(inputs.caller(), AccountLeaves::NONCE);
            if !caller.bump_nonce() {
                observer.create_started(&inputs, depth, CreateStart::NonceOverflow);
                return failed(InstructionResult::Return);
            }
        }
        let creator_keeps = *caller.balance() != inputs.value();
        let created_address = inputs.created_address(nonce);
        // Warming inside the checkpoint makes a failed create cool the address again (evm Q9).
        let outer = (!rules.failed_create_leaves_address_warm).then(|| journal.checkpoint());
        let target = journal.load_account(created_address)?;
        let (has_nonce, has_code) = (target.info.nonce != 0, target.info.code_hash != KECCAK_EMPTY);
        let start = match (has_nonce, has_code) {
            (true, _) => CreateStart::HasNonce(created_address),
            (false, true) => CreateStart::HasCode(created_address),
            _ => CreateStart::Runs { created: created_address, creator_keeps },
        };
        observer.create_started(&inputs, depth, start);
        touched.account(created_address, AccountLeaves::NONCE);
        if !has_nonce {
            touched.code(created_address, AccountLeaves::CODE_HASH, has_code);
        }
        if !inputs.value().is_zero() && !has_nonce && !has_code {
            touched.account(inputs.caller(), AccountLeaves::BALANCE);
            touched.account(created_address, AccountLeaves::BALANCE);
        }
        let wraps = transfer::wraps(journal, inputs.caller(), created_address, inputs.value());
        let value = if wraps { U256::ZERO } else { inputs.value() };
        let created = journal.create_account_checkpoint(inputs.caller(), created_address, value, SpecId::LONDON);
        if wraps && created.is_ok() {
            transfer::move_wrapping(journal, inputs.caller(), created_address, inputs.value())?;
        }
        let checkpoint = match (created, outer) {
            (Ok(inner), None) => inner,
            (Ok(_), Some(outer)) => {
                journal.checkpoint_commit();
                outer
            }
            (Err(error), outer) => {
                if let Some(outer) = outer {
                    journal.checkpoint_revert(outer);
                }
                if error == TransferError::CreateCollision && depth == 1 {
                    // What the trace prices at its static gas alone: any CREATE, a CREATE2 of nothing.
                    let is_cheap = inputs.scheme() == CreateScheme::Create || inputs.init_code().is_empty();
                    let creator = self.inner.frame_stack.get();
                    if is_cheap && matches!(creator.data, FrameData::Create(_)) {
                        self.inner.ctx.chain.collision_behind = Some(creator.interpreter.bytecode.pc());
                    }
                }
                return failed(error.into());
            }
        };
        // Storage that is already there stays and can be read (evm Q13).
        if let Some(account) = journal.inner.state.get_mut(&created_address) {
            account.unmark_created();
        }

        let input = if rules.initcode_visible_as_calldata { inputs.init_code().clone() } else { Bytes::new() };
        let interpreter_input = InputsImpl {
            target_address: created_address,
            caller_address: inputs.caller(),
            bytecode_address: None,
            input: CallInput::Bytes(input),
            call_value: inputs.value(),
            depth,
        };
        let code = ExtBytecode::new(with_unchecked_jumpdests(inputs.init_code()));
        let gas_limit = inputs.gas_limit();
        push_frame(&mut self.inner.frame_stack, |frame| {
            frame.clear(
                FrameData::Create(CreateFrame { created_address }),
                FrameInput::Create(inputs),
                depth,
                memory,
                code,
                interpreter_input,
                false,
                SpecId::LONDON,
                gas_limit,
                0,
                checkpoint,
            );
        });
        Ok(None)
    }

    /// Tells the tracer that a frame ended, with what the ROM adds to the last step.
    fn trace_frame_end(&mut self, result: &FrameResult, effect: PrecompileEffect) {
        let Some(tracer) = &mut self.tracer else { return };
        let depth = match self.inner.frame_stack.index() {
            Some(index) if self.inner.frame_stack.get().is_finished() => index as u32,
            Some(index) => index as u32 + 1,
            None => 0,
        };
        if let FrameResult::Create(outcome) = result
            && matches!(
                outcome.result.result,
                InstructionResult::CreateCollision
                    | InstructionResult::CreateContractSizeLimit
                    | InstructionResult::CreateContractStartingWithEF
                    | InstructionResult::OutOfGas
            )
        {
            tracer.place_error(rom_error(outcome.result.result));
        }
        if let FrameResult::Call(outcome) = result {
            match outcome.result.result {
                _ if effect == PrecompileEffect::Unsupported => tracer.place_error(RomError::ExecutionReverted),
                InstructionResult::PrecompileOOG => tracer.place_error(RomError::OutOfGas),
                _ => {}
            }
        }
        tracer.leave(depth);
    }

    /// Ends a create frame: size, deposit, 0xEF, then the code with its Poseidon hash (evm §4.2).
    fn end_create_frame(&mut self, mut result: InterpreterResult) -> FrameResult {
        let frame = self.inner.frame_stack.get();
        frame.set_finished(true);
        let checkpoint = frame.checkpoint;
        let FrameData::Create(CreateFrame { created_address }) = frame.data else {
            return FrameResult::Create(CreateOutcome::new(result, None));
        };
        let returns_code = result.result == InstructionResult::Return;
        let is_transaction = frame.depth == 0;
        let returns_nothing = result.result == InstructionResult::Return && result.output.is_empty();
        if returns_nothing && frame.depth > 0 {
            // The ROM writes the zero length and hash of a nested create, which leaves no leaf but counts as an access.
            let leaves = AccountLeaves::CODE_HASH.with(AccountLeaves::CODE_LENGTH);
            self.inner.ctx.chain.touched.code(created_address, leaves, false);
        }
        let journal = &mut self.inner.ctx.journaled_state;
        if result.result.is_ok() {
            let deposit_gas = CODE_DEPOSIT_GAS * result.output.len() as u64;
            if result.output.len() > CODE_SIZE_MAX_BYTES {
                result.result = InstructionResult::CreateContractSizeLimit;
            } else if !result.gas.record_regular_cost(deposit_gas) {
                result.result = InstructionResult::OutOfGas;
            } else if result.output.first() == Some(&RESERVED_CODE_PREFIX) {
                result.result = InstructionResult::CreateContractStartingWithEF;
            } else {
                result.result = InstructionResult::Return;
            }
        }
        if result.result.is_ok() {
            journal.checkpoint_commit();
            if returns_code {
                let bytes = result.output.len() as u64;
                self.inner.ctx.chain.observer.code_deployed(created_address, bytes, is_transaction);
            }
            if !result.output.is_empty() {
                let hash = linear_hash(&result.output).to_b256();
                journal.set_code_with_hash(created_address, with_unchecked_jumpdests(&result.output), hash);
                self.new_programs.push((hash, result.output.clone()));
                self.inner.ctx.chain.touched.deployed(created_address, hash, result.output.len() as u64);
            }
        } else {
            journal.checkpoint_revert(checkpoint);
        }
        FrameResult::Create(CreateOutcome::new(result, Some(created_address)))
    }
}

impl<DB: StateDatabase, O: EvmObserver> EvmTr for ZkEvm<DB, O> {
    type Context = ZkContext<DB, O>;
    type Instructions = ZkInstructions<DB, O>;
    type Precompiles = ZkPrecompiles;
    type Frame = EthFrame<EthInterpreter>;

    fn all(&self) -> (&Self::Context, &Self::Instructions, &Self::Precompiles, &FrameStack<Self::Frame>) {
        self.inner.all()
    }

    fn all_mut(
        &mut self,
    ) -> (&mut Self::Context, &mut Self::Instructions, &mut Self::Precompiles, &mut FrameStack<Self::Frame>) {
        self.inner.all_mut()
    }

    fn frame_init(
        &mut self,
        init: FrameInit,
    ) -> Result<FrameInitResult<'_, Self::Frame>, ContextDbError<Self::Context>> {
        let depth = init.depth as u32 + 1;
        if self.stops_before_frame() {
            return Err(given_up());
        }
        let refund_of_callers = self.refund_of_callers();
        if let FrameInput::Call(inputs) = &init.frame_input {
            self.touch_call(inputs)?;
            let ZkContext { chain, journaled_state, .. } = &mut self.inner.ctx;
            chain.observer.call_started(inputs, init.depth, &journaled_state.inner.state);
            let codeless = self.tracer.as_ref().is_some_and(|tracer| depth > 1 || tracer.keeps_every_stop())
                && inputs.known_bytecode.1.is_empty()
                && chain.rules.precompile_number(&inputs.bytecode_address).is_none();
            if codeless {
                return self.trace_codeless_call(init, depth);
            }
            if let Some(result) = self.start_call(init)? {
                return Ok(ItemOrResult::Result(result));
            }
            if let Some(tracer) = &mut self.tracer {
                tracer.enter(depth, refund_of_callers);
            }
            return Ok(ItemOrResult::Item(self.inner.frame_stack.get()));
        }
        match self.init_create_frame(init)? {
            Some(failed) => Ok(ItemOrResult::Result(failed)),
            None => {
                if let Some(tracer) = &mut self.tracer {
                    tracer.enter(depth, refund_of_callers);
                }
                Ok(ItemOrResult::Item(self.inner.frame_stack.get()))
            }
        }
    }

    fn frame_run(&mut self) -> Result<FrameInitOrResult<Self::Frame>, ContextDbError<Self::Context>> {
        self.ran_opcodes = true;
        let frame = self.inner.frame_stack.get();
        let is_create = matches!(frame.data, FrameData::Create(_));
        let table = match &self.endless_push {
            Some(guarded) if !is_create && ends_in_bare_push(frame.interpreter.bytecode.original_byte_slice()) => {
                guarded
            }
            _ => &self.inner.instruction,
        };
        self.inner.ctx.chain.observer.frame_resumed(&frame.interpreter);
        let unpaid = self.unpaid.of_frame(frame.depth);
        let action = match (&mut self.tracer, unpaid) {
            (Some(tracer), unpaid) => run_traced(frame, table, &mut self.inner.ctx, tracer, unpaid)?,
            (None, Some(unpaid)) => modexp_memory::run(&mut frame.interpreter, table, &mut self.inner.ctx, unpaid),
            (None, None) => error_order::run(&mut frame.interpreter, &mut self.inner.ctx, |interpreter, context| {
                O::run_opcode(interpreter, table, context)
            }),
        };
        let Some(mut action) = action.filter(|_| self.inner.ctx.chain.interrupt.reason().is_none()) else {
            return Err(given_up());
        };
        if self.inner.ctx.chain.never_ends {
            self.abandoned = self.inner.ctx.journaled_state.inner.state.clone();
            return Err(ContextError::Custom("the code never ends".into()));
        }
        if self.inner.ctx.chain.observer.gives_up() {
            self.inner.ctx.chain.given_up_at = Some(frame.interpreter.gas.remaining());
            return Err(ContextError::Custom("the observer ended the run".into()));
        }
        if let InterpreterAction::Return(result) = &mut action {
            let area = self.inner.ctx.chain.returned.filter(|_| frame.depth == 0 && result.result.is_halt());
            if let Some(area) = area {
                let unpaid = self.unpaid.of_frame(frame.depth);
                result.output = memory_at(area, &frame.interpreter.memory, unpaid.as_deref());
            }
            self.unpaid.frame_ended(frame.depth);
            let scratch = &mut self.inner.ctx.chain;
            scratch.refund_counter = result.gas.refunded();
            // The step of a STOP right behind a failed create is left out (executor-service §8.3), so the create is last.
            // The program counter stands behind the STOP.
            scratch.ended_in_collision = scratch.rules.stop_hides_behind_failed_create
                && frame.depth == 0
                && result.result == InstructionResult::Stop
                && scratch.collision_behind.is_some_and(|behind| behind + 1 == frame.interpreter.bytecode.pc());
        }
        match action {
            InterpreterAction::Return(result) if is_create => Ok(ItemOrResult::Result(self.end_create_frame(result))),
            action => frame.process_next_action(&mut self.inner.ctx, action).inspect(|next| {
                if next.is_result() {
                    frame.set_finished(true);
                }
            }),
        }
    }

    fn frame_return_result(
        &mut self,
        result: FrameResult,
    ) -> Result<Option<FrameResult>, ContextDbError<Self::Context>> {
        let effect = std::mem::take(&mut self.inner.ctx.chain.precompile_effect);
        self.trace_frame_end(&result, effect);
        let rules = self.inner.ctx.chain.rules;
        self.inner.ctx.chain.observer.frame_ended(result.instruction_result().is_ok());
        match result {
            FrameResult::Call(outcome) => {
                let keeps_data = effect == PrecompileEffect::KeepReturnData
                    || (effect == PrecompileEffect::Unsupported && rules.stale_returndata_on_unsupported_precompile);
                let parent = self.inner.frame_stack.index().map(|_| self.inner.frame_stack.get());
                let kept = match parent {
                    Some(parent) if keeps_data => Some(parent.interpreter.return_data.buffer().clone()),
                    Some(parent) if effect == PrecompileEffect::CopyWholeOutput => {
                        let offset = self.inner.ctx.chain.output_offset;
                        let output = &outcome.result.output;
                        self.unpaid.write(parent.depth, &mut parent.interpreter.memory, offset, output);
                        None
                    }
                    _ => None,
                };
                let end = self.inner.frame_return_result(FrameResult::Call(outcome))?;
                if let (None, Some(data)) = (&end, kept) {
                    self.inner.frame_stack.get().interpreter.return_data.set_buffer(data);
                }
                Ok(end)
            }
            FrameResult::Create(outcome) => {
                let leak = (rules.ef_create_leaks_refund
                    && outcome.result.result == InstructionResult::CreateContractStartingWithEF)
                    .then(|| outcome.result.gas.refunded());
                let end = self.inner.frame_return_result(FrameResult::Create(outcome))?;
                if let (None, Some(refund)) = (&end, leak) {
                    self.inner.frame_stack.get().interpreter.gas.record_refund(refund);
                }
                Ok(end)
            }
        }
    }
}

/// The error that ends a run to be given up: the interrupt knows why.
fn given_up<E>() -> ContextError<E> {
    ContextError::Custom("given up".into())
}

/// How the top frame ended.
struct End {
    result: InstructionResult,
    gas_left: u64,
    output: Bytes,
    logs: Vec<Log>,
    unsupported_precompile: bool,
}
