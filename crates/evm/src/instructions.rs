//! The instruction table: Berlin's, with the zkEVM's own opcodes (evm §5, §11.3).

use revm::bytecode::opcode;
use revm::context::{ContextTr, Journal, JournalTr};
use revm::context_interface::host::LoadError;
use revm::handler::instructions::EthInstructions;
use revm::interpreter::instructions::{contract, control, host, system};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, Jumps, LegacyBytecode, RuntimeFlag};
use revm::interpreter::{Host, Instruction, InstructionContext, InstructionExecResult, InstructionResult, Interpreter};
use revm::primitives::alloy_primitives::Keccak256;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, KECCAK_EMPTY, U256};

use super::access_log::AccountLeaves;
use super::call_gas;
use super::context::{SYSTEM_ADDRESS, StateDatabase, ZkContext};
use super::interrupt::HASHED_BYTES_PER_LOOK;
use super::observer::EvmObserver;
use super::trace::{CREATE_GAS, is_defined};
use super::transfer;
use zkevm_batch::{keccak_slot, log_hash};
use zkevm_types::ForkRules;

/// Instruction table over a database, under an observer.
pub type ZkInstructions<DB, O> = EthInstructions<EthInterpreter, ZkContext<DB, O>>;

type Ctx<'a, DB, O> = InstructionContext<'a, ZkContext<DB, O>, EthInterpreter>;

/// Static gas of SENDALL (evm §5).
const SENDALL_GAS: u16 = 5000;
/// Gas of a first access to an account (EIP-2929).
const COLD_ACCOUNT_GAS: u64 = 2600;
/// Gas an SSTORE must leave over (EIP-2200).
const SSTORE_SENTRY_GAS: u64 = 2300;
/// Gas of a call that moves value.
const CALL_VALUE_GAS: u64 = 9000;
/// Gas of bringing an account into existence.
const NEW_ACCOUNT_GAS: u64 = 25_000;
/// Gas of a warm account access, the static part of the account opcodes.
const WARM_ACCOUNT_GAS: u16 = 100;
/// Gas of a warm slot access, the static part of SLOAD.
const WARM_SLOT_GAS: u64 = 100;
/// Gas of each topic of a log.
const LOG_TOPIC_GAS: u64 = 375;
/// Gas of GASPRICE.
const GASPRICE_GAS: u64 = 2;

/// Builds the table of a fork.
pub fn instruction_table<DB: StateDatabase, O: EvmObserver>(rules: &ForkRules) -> ZkInstructions<DB, O> {
    let mut table = ZkInstructions::new_mainnet_with_spec(SpecId::BERLIN);
    // Their fixed gas is charged inside: what the ROM does before it charges shows in the answer.
    table.insert_instruction(opcode::BALANCE, Instruction::new(balance::<DB, O>), 0);
    table.insert_instruction(opcode::GASPRICE, Instruction::new(gasprice::<DB, O>), 0);
    table.insert_instruction(opcode::SLOAD, Instruction::new(sload::<DB, O>), 0);
    table.insert_instruction(opcode::SELFBALANCE, Instruction::new(selfbalance::<DB, O>), 5);
    table.insert_instruction(opcode::EXTCODESIZE, Instruction::new(extcodesize::<DB, O>), WARM_ACCOUNT_GAS);
    table.insert_instruction(opcode::EXTCODEHASH, Instruction::new(extcodehash::<DB, O>), WARM_ACCOUNT_GAS);
    table.insert_instruction(opcode::EXTCODECOPY, Instruction::new(extcodecopy::<DB, O>), WARM_ACCOUNT_GAS);
    table.insert_instruction(opcode::CODESIZE, Instruction::new(codesize::<DB, O>), 2);
    table.insert_instruction(opcode::SSTORE, Instruction::new(sstore::<DB, O>), 0);
    table.insert_instruction(opcode::CALL, Instruction::new(call::<DB, O>), WARM_ACCOUNT_GAS);
    table.insert_instruction(opcode::KECCAK256, Instruction::new(keccak256::<DB, O>), 30);
    table.insert_instruction(opcode::CALLDATACOPY, Instruction::new(calldatacopy::<DB, O>), 3);
    table.insert_instruction(opcode::CODECOPY, Instruction::new(codecopy::<DB, O>), 3);
    table.insert_instruction(opcode::RETURNDATACOPY, Instruction::new(returndatacopy::<DB, O>), 3);
    table.insert_instruction(opcode::BLOCKHASH, Instruction::new(blockhash::<DB, O>), 20);
    table.insert_instruction(opcode::BASEFEE, Instruction::new(undefined::<DB, O>), 0);
    // What later forks of Ethereum define has a price in revm's table already.
    for unassigned in (0..=u8::MAX).filter(|&op| !is_defined(op)) {
        table.insert_instruction(unassigned, Instruction::new(undefined::<DB, O>), 0);
    }
    table.insert_instruction(opcode::CREATE, Instruction::new(create::<false, DB, O>), 0);
    table.insert_instruction(opcode::CREATE2, Instruction::new(create::<true, DB, O>), 0);
    table.insert_instruction(opcode::SELFDESTRUCT, Instruction::new(sendall::<DB, O>), SENDALL_GAS);
    table.insert_instruction(opcode::RETURN, Instruction::new(end_frame::<false, DB, O>), 0);
    table.insert_instruction(opcode::REVERT, Instruction::new(end_frame::<true, DB, O>), 0);
    table.insert_instruction(opcode::LOG0, Instruction::new(log::<0, DB, O>), 375);
    table.insert_instruction(opcode::LOG1, Instruction::new(log::<1, DB, O>), 375);
    table.insert_instruction(opcode::LOG2, Instruction::new(log::<2, DB, O>), 375);
    table.insert_instruction(opcode::LOG3, Instruction::new(log::<3, DB, O>), 375);
    table.insert_instruction(opcode::LOG4, Instruction::new(log::<4, DB, O>), 375);
    if rules.modexp_copies_whole_output {
        macro_rules! note_output_of {
            ($($op:ident)*) => { $(table.insert_instruction(
                opcode::$op,
                Instruction::new(call_noting_output::<{ opcode::$op }, DB, O>),
                WARM_ACCOUNT_GAS,
            );)* };
        }
        note_output_of!(CALL CALLCODE DELEGATECALL STATICCALL);
    }
    if rules.push0 {
        table.insert_instruction(opcode::PUSH0, Instruction::new(push0::<DB, O>), 2);
    } else {
        table.insert_instruction(opcode::PUSH0, Instruction::new(undefined::<DB, O>), 0);
    }
    if rules.initcode_visible_as_calldata {
        table.insert_instruction(opcode::CALLDATASIZE, Instruction::new(calldatasize_of_initcode::<DB, O>), 2);
    }
    table
}

/// Builds the table for runtime code whose last byte is a PUSH without immediate: reaching it never ends (evm Q7).
pub fn endless_push_table<DB: StateDatabase, O: EvmObserver>(
    mut table: ZkInstructions<DB, O>,
) -> ZkInstructions<DB, O> {
    macro_rules! guard {
        ($($n:literal)*) => { $(table.insert_instruction(opcode::PUSH1 + $n - 1, Instruction::new(guarded_push::<$n, DB, O>), 3);)* };
    }
    guard!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
    table
}

fn guarded_push<const N: usize, DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    // The program counter already stands behind the opcode.
    if context.interpreter.bytecode.pc() >= context.interpreter.bytecode.bytecode_len() {
        context.host.chain.never_ends = true;
        return Err(InstructionResult::OutOfGas);
    }
    revm::interpreter::instructions::stack::push::<N, _, _>(context)
}

fn undefined<DB: StateDatabase, O: EvmObserver>(_context: Ctx<'_, DB, O>) -> InstructionExecResult {
    Err(InstructionResult::OpcodeNotFound)
}

fn push0<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    push(context, U256::ZERO)
}

fn push<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>, value: U256) -> InstructionExecResult {
    if context.interpreter.stack.push(value) { Ok(()) } else { Err(InstructionResult::StackOverflow) }
}

/// Stock, but the top frame's area counts from before it is paid for.
fn end_frame<const REVERTS: bool, DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    if context.interpreter.input.depth == 0
        && let [.., length, offset] = context.interpreter.stack.data()[..]
    {
        context.host.chain.returned = Some((offset, length));
    }
    if REVERTS { control::revert(context) } else { control::ret(context) }
}

fn gasprice<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    context.host.chain.used_gasprice = true;
    charge(context.interpreter, GASPRICE_GAS)?;
    let price = context.host.chain.gas_price;
    push(context, price)
}

fn balance<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    context.host.chain.used_balance = true;
    let Some(address) = top_address(&context) else {
        return Err(InstructionResult::StackUnderflow);
    };
    // The ROM reads the balance before it charges for it.
    context.host.chain.touched.account(address, AccountLeaves::BALANCE);
    charge(context.interpreter, u64::from(WARM_ACCOUNT_GAS))?;
    host::balance(context)
}

fn charge(interpreter: &mut Interpreter<EthInterpreter>, gas: u64) -> InstructionExecResult {
    if interpreter.gas.record_regular_cost(gas) { Ok(()) } else { Err(InstructionResult::OutOfGas) }
}

fn selfbalance<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    let address = context.interpreter.input.target_address();
    context.host.chain.touched.account(address, AccountLeaves::BALANCE);
    host::selfbalance(context)
}

fn top_address<DB: StateDatabase, O: EvmObserver>(context: &Ctx<'_, DB, O>) -> Option<Address> {
    context.interpreter.stack.data().last().map(|word| Address::from_word((*word).into()))
}

/// Pops an address and makes it warm, charging for a cold access. Returns it with its code hash.
fn load_popped_account<DB: StateDatabase, O: EvmObserver>(
    context: &mut Ctx<'_, DB, O>,
    leaves: AccountLeaves,
) -> Result<(Address, revm::primitives::B256, Option<usize>), InstructionResult> {
    let Some(word) = context.interpreter.stack.pop().ok() else {
        return Err(InstructionResult::StackUnderflow);
    };
    let address = Address::from_word(word.into());
    let cold_gas = COLD_ACCOUNT_GAS - u64::from(WARM_ACCOUNT_GAS);
    let skip_cold = context.interpreter.gas.remaining() < cold_gas;
    let account = context.host.load_account_info_skip_cold_load(address, false, skip_cold)?;
    let code_hash = account.code_hash;
    let loaded_length = account.code.as_ref().map(|code| code.len());
    let is_cold = account.is_cold;
    let loaded_length = loaded_length.filter(|_| !context.host.journaled_state.database.lacks_code(code_hash));
    if is_cold && !context.interpreter.gas.record_regular_cost(cold_gas) {
        return Err(LoadError::ColdLoadSkipped.into());
    }
    context.host.chain.touched.code(address, leaves, code_hash != KECCAK_EMPTY);
    Ok((address, code_hash, loaded_length))
}

/// The code length leaf; needs no program (evm §5).
fn extcodesize<DB: StateDatabase, O: EvmObserver>(mut context: Ctx<'_, DB, O>) -> InstructionExecResult {
    let (address, code_hash, loaded_length) = load_popped_account(&mut context, AccountLeaves::CODE_LENGTH)?;
    let length = match loaded_length {
        _ if code_hash == KECCAK_EMPTY => 0,
        Some(length) => length as u64,
        None => {
            let length = context.host.journal_mut().db_mut().code_length(address);
            context.host.or_fatal(length)?
        }
    };
    push(context, U256::from(length))
}

/// Stock, but the ROM reads the length leaf, then the code if there is any, once the access is paid.
fn extcodecopy<DB: StateDatabase, O: EvmObserver>(mut context: Ctx<'_, DB, O>) -> InstructionExecResult {
    note_copy(&mut context, 4)?;
    let InstructionContext { interpreter, host } = context;
    let operands = interpreter.stack.data();
    if let [.., address] = operands[..]
        && operands.len() >= 4
    {
        let address = Address::from_word(address.into());
        if !is_cold(host, address) || interpreter.gas.remaining() >= COLD_ACCOUNT_GAS - u64::from(WARM_ACCOUNT_GAS) {
            load_external_code(host, address)?;
        }
    }
    host::extcodecopy(InstructionContext { interpreter, host: &mut *host })
}

/// Reads the length of an account's code, and the code if there is any.
fn load_external_code<DB: StateDatabase, O: EvmObserver>(
    host: &mut ZkContext<DB, O>,
    address: Address,
) -> InstructionExecResult {
    let (code_hash, is_loaded) = match host.journaled_state.inner.state.get(&address) {
        Some(account) => (account.info.code_hash, account.info.code.is_some()),
        None => {
            let info = host.journaled_state.database.basic(address);
            (host.or_fatal(info)?.map_or(KECCAK_EMPTY, |info| info.code_hash), false)
        }
    };
    let has_code = code_hash != KECCAK_EMPTY;
    host.chain.touched.code(address, AccountLeaves::of_code(has_code), has_code);
    if !has_code {
        return Ok(());
    }
    if !is_loaded {
        let code = host.journaled_state.database.code_by_hash(code_hash);
        host.or_fatal(code)?;
    }
    let required = host.journaled_state.database.require_code(code_hash);
    host.or_fatal(required)
}

/// Stock, but the ROM reads the length leaf of running code.
fn codesize<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    if let Some(address) = context.interpreter.input.bytecode_address().copied() {
        context.host.chain.touched.code(address, AccountLeaves::CODE_LENGTH, true);
    }
    system::codesize(context)
}

fn sload<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    let address = context.interpreter.input.target_address();
    let Some(slot) = context.interpreter.stack.data().last().copied() else {
        return Err(InstructionResult::StackUnderflow);
    };
    // The ROM reads the slot before it charges for it.
    let value = current_slot(&mut context.host.journaled_state, address, slot);
    let value = context.host.or_fatal(value)?;
    context.host.chain.touched.slot(address, slot, value);
    charge(context.interpreter, WARM_SLOT_GAS)?;
    host::sload(context)
}

fn sstore<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    let InstructionContext { interpreter, host } = context;
    let address = interpreter.input.target_address();
    let [.., value, slot] = interpreter.stack.data()[..] else {
        return Err(InstructionResult::StackUnderflow);
    };
    // The ROM's order: the sentry, then the static flag.
    if interpreter.gas.remaining() <= SSTORE_SENTRY_GAS {
        return Err(InstructionResult::ReentrancySentryOOG);
    }
    if interpreter.runtime_flag.is_static() {
        return Err(InstructionResult::StateChangeDuringStaticCall);
    }
    // It reads the current value, then the one at the start of the transaction, before it charges.
    let original = original_slot(&mut host.journaled_state, address, slot);
    let original = host.or_fatal(original)?;
    host.chain.touched.slot(address, slot, original);
    host::sstore(InstructionContext { interpreter, host: &mut *host })?;
    host.chain.touched.slot(address, slot, value);
    Ok(())
}

/// Stock, but the ROM wants all operands before it looks at the static flag, and tests the receiver for emptiness when
/// value moves.
fn call<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    let InstructionContext { interpreter, host } = context;
    require_operands(interpreter, 7)?;
    let mut tested = None;
    if let [.., out_bytes, out, in_bytes, input, value, to, _gas] = interpreter.stack.data()[..]
        && !value.is_zero()
        && !interpreter.runtime_flag.is_static()
    {
        let receiver = Address::from_word(to.into());
        // The table charges the warm access before it comes here.
        let gas = interpreter.gas.remaining().saturating_add(u64::from(WARM_ACCOUNT_GAS));
        let areas = [input, in_bytes, out, out_bytes];
        let access_gas = if is_cold(host, receiver) { COLD_ACCOUNT_GAS } else { u64::from(WARM_ACCOUNT_GAS) };
        let left = call_gas::after_memory(gas, interpreter.memory.len(), areas);
        tested = left.is_some_and(|gas| gas >= access_gas + CALL_VALUE_GAS).then_some(receiver);
    }
    let result = contract::call::<{ opcode::CALL }, _, _>(InstructionContext { interpreter, host: &mut *host });
    if let Some(receiver) = tested
        && let Some(account) = host.journaled_state.inner.state.get(&receiver)
        && matches!(result, Err(InstructionResult::Suspend | InstructionResult::OutOfGas))
    {
        // Memory, access and value are paid for: the test has been made, whether or not what it led to could be paid.
        host.chain.touched.emptiness_test(receiver, &account.info);
    }
    result
}

/// True if the next access to an account is its first one in the transaction.
fn is_cold<DB: StateDatabase, O: EvmObserver>(host: &ZkContext<DB, O>, address: Address) -> bool {
    let journal = &host.journaled_state.inner;
    let account = journal.state.get(&address);
    account.is_none_or(|account| account.is_cold_transaction_id(journal.transaction_id))
        && host.chain.rules.precompile_number(&address).is_none()
}

/// Stock, but the ROM charges the fixed part first, then wants all operands, and only then looks at the static flag.
fn create<const IS_CREATE2: bool, DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    if context.interpreter.gas.remaining() < CREATE_GAS {
        return Err(InstructionResult::OutOfGas);
    }
    require_operands(context.interpreter, if IS_CREATE2 { 4 } else { 3 })?;
    // Init code of any length is hashed, and read for its jump destinations.
    if let [.., length, _offset, _value] = context.interpreter.stack.data()[..]
        && context.host.chain.interrupt.spend_hashing(length.saturating_to())
    {
        return Err(InstructionResult::FatalExternalError);
    }
    contract::create::<IS_CREATE2, _, _>(context)
}

fn require_operands(interpreter: &Interpreter<EthInterpreter>, count: usize) -> InstructionExecResult {
    if interpreter.stack.len() < count { Err(InstructionResult::StackUnderflow) } else { Ok(()) }
}

/// A call of kind `OP` that notes where its output goes, which revm forgets when the area is empty (evm Q6).
fn call_noting_output<const OP: u8, DB: StateDatabase, O: EvmObserver>(
    context: Ctx<'_, DB, O>,
) -> InstructionExecResult {
    let position = if matches!(OP, opcode::CALL | opcode::CALLCODE) { 5 } else { 4 };
    let offset = context.interpreter.stack.data().iter().rev().nth(position).copied();
    context.host.chain.output_offset = offset.unwrap_or_default();
    if OP == opcode::CALL { call(context) } else { contract::call::<OP, _, _>(context) }
}

/// Stock, but the ROM wants all operands first. Notes the hash of the log when keys are asked for, because a reverted log
/// keeps its keys.
fn log<const N: usize, DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    let InstructionContext { interpreter, host } = context;
    require_operands(interpreter, N + 2)?;
    if host.chain.rules.logs_charge_topics_first && interpreter.gas.remaining() < LOG_TOPIC_GAS * N as u64 {
        return Err(InstructionResult::OutOfGas);
    }
    host::log::<N, _>(InstructionContext { interpreter, host: &mut *host })?;
    let logs = &host.journaled_state.inner.logs;
    if let (Some(hashes), Some(log)) = (&mut host.chain.log_hashes, logs.last()) {
        hashes.push((logs.len() as u64 - 1, log_hash(&log.data.data, log.topics()).to_b256()));
    }
    Ok(())
}

/// Stock, but what is long is hashed in pieces, each of which counts as many opcodes.
fn keccak256<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    match context.interpreter.stack.data()[..] {
        [.., length, offset] if length > U256::from(HASHED_BYTES_PER_LOOK) => {
            if let (Ok(offset), Ok(length)) = (usize::try_from(offset), usize::try_from(length)) {
                return long_keccak256(context, offset, length);
            }
        }
        [.., length, _] if context.host.chain.interrupt.spend_hashing(length.saturating_to()) => {
            return Err(InstructionResult::FatalExternalError);
        }
        _ => {}
    }
    system::keccak256(context)
}

/// What the stock opcode does, with looks at the token in between. The operands are those on the stack.
fn long_keccak256<DB: StateDatabase, O: EvmObserver>(
    context: Ctx<'_, DB, O>,
    offset: usize,
    length: usize,
) -> InstructionExecResult {
    let InstructionContext { interpreter, host } = context;
    charge(interpreter, host.gas_params().keccak256_cost(length))?;
    interpreter.resize_memory(host.gas_params(), offset, length)?;
    let mut hasher = Keccak256::new();
    for piece in interpreter.memory.slice_len(offset, length).chunks(HASHED_BYTES_PER_LOOK) {
        if host.chain.interrupt.spend_hashing(piece.len()) {
            return Err(InstructionResult::FatalExternalError);
        }
        hasher.update(piece);
    }
    let Ok(_) = interpreter.stack.pop() else { return Err(InstructionResult::StackUnderflow) };
    match interpreter.stack.top() {
        Some(top) => *top = hasher.finalize().into(),
        None => return Err(InstructionResult::StackUnderflow),
    }
    Ok(())
}

/// Counts the bytes that an opcode is about to copy; how many there are is the last of its operands.
fn note_copy<DB: StateDatabase, O: EvmObserver>(
    context: &mut Ctx<'_, DB, O>,
    operands: usize,
) -> Result<(), InstructionResult> {
    let length = context.interpreter.stack.data().iter().rev().nth(operands - 1);
    let stops = length.is_some_and(|length| context.host.chain.interrupt.spend_copying(length.saturating_to()));
    if stops { Err(InstructionResult::FatalExternalError) } else { Ok(()) }
}

/// Stock, but a long one counts as many opcodes, like the two below.
fn calldatacopy<DB: StateDatabase, O: EvmObserver>(mut context: Ctx<'_, DB, O>) -> InstructionExecResult {
    note_copy(&mut context, 3)?;
    system::calldatacopy(context)
}

fn codecopy<DB: StateDatabase, O: EvmObserver>(mut context: Ctx<'_, DB, O>) -> InstructionExecResult {
    note_copy(&mut context, 3)?;
    system::codecopy(context)
}

fn returndatacopy<DB: StateDatabase, O: EvmObserver>(mut context: Ctx<'_, DB, O>) -> InstructionExecResult {
    note_copy(&mut context, 3)?;
    system::returndatacopy(context)
}

/// Returns the present value of a slot without warming it.
fn current_slot<DB: StateDatabase>(journal: &mut Journal<DB>, address: Address, slot: U256) -> Result<U256, DB::Error> {
    match journal.inner.state.get(&address).and_then(|account| account.storage.get(&slot)) {
        Some(slot) => Ok(slot.present_value),
        None => journal.database.storage(address, slot),
    }
}

/// Returns the value of a slot at the start of the transaction without warming it.
fn original_slot<DB: StateDatabase>(
    journal: &mut Journal<DB>,
    address: Address,
    slot: U256,
) -> Result<U256, DB::Error> {
    match journal.inner.state.get(&address).and_then(|account| account.storage.get(&slot)) {
        Some(slot) => Ok(slot.original_value),
        None => journal.database.storage(address, slot),
    }
}

/// Turns a database error into a fatal one that ends the run.
trait OrFatal<T, E> {
    fn or_fatal(&mut self, result: Result<T, E>) -> Result<T, InstructionResult>;
}

impl<T, DB: StateDatabase, O: EvmObserver> OrFatal<T, DB::Error> for ZkContext<DB, O> {
    fn or_fatal(&mut self, result: Result<T, DB::Error>) -> Result<T, InstructionResult> {
        result.map_err(|error| {
            *self.error() = Err(error.into());
            InstructionResult::FatalExternalError
        })
    }
}

/// The code hash leaf as it is: Poseidon for contracts, 0 for everything without code (evm Q11).
fn extcodehash<DB: StateDatabase, O: EvmObserver>(mut context: Ctx<'_, DB, O>) -> InstructionExecResult {
    let (_, code_hash, _) = load_popped_account(&mut context, AccountLeaves::CODE_HASH)?;
    let value = if code_hash == KECCAK_EMPTY { U256::ZERO } else { code_hash.into() };
    push(context, value)
}

/// Reads the system contract's mapping of state roots: any number, no window, no warming (evm §5).
fn blockhash<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    let Ok(number) = context.interpreter.stack.pop() else {
        return Err(InstructionResult::StackUnderflow);
    };
    let slot = keccak_slot(number, 1);
    // Code can live at the system address and change the slot within this transaction.
    let value = current_slot(&mut context.host.journaled_state, SYSTEM_ADDRESS, slot);
    let value = context.host.or_fatal(value)?;
    context.host.chain.touched.slot(SYSTEM_ADDRESS, slot, value);
    push(context, value)
}

/// SELFDESTRUCT as the zkEVM has it: sends the balance, destroys nothing (evm §5, Q12).
fn sendall<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    let Ok(word) = context.interpreter.stack.pop() else {
        return Err(InstructionResult::StackUnderflow);
    };
    let receiver = Address::from_word(word.into());
    if context.interpreter.runtime_flag.is_static() {
        return Err(InstructionResult::StateChangeDuringStaticCall);
    }
    let own = context.interpreter.input.target_address();
    let touched = &mut context.host.chain.touched;
    touched.account(own, AccountLeaves::BALANCE);
    let Some(balance) = context.host.balance(own) else {
        return Err(InstructionResult::FatalExternalError);
    };
    // Nothing moves: the receiver is neither charged for nor warmed.
    if balance.data.is_zero() || receiver == own {
        return Err(InstructionResult::Stop);
    }
    // The test is made whether or not what it leads to can be paid.
    let account = context.host.load_account_info_skip_cold_load(receiver, false, false)?;
    let (is_empty, is_cold) = (account.is_empty(), account.is_cold);
    if let Some(account) = context.host.journaled_state.inner.state.get(&receiver) {
        context.host.chain.touched.emptiness_test(receiver, &account.info);
    }
    let cost = u64::from(is_empty) * NEW_ACCOUNT_GAS + u64::from(is_cold) * COLD_ACCOUNT_GAS;
    if !context.interpreter.gas.record_regular_cost(cost) {
        return Err(InstructionResult::OutOfGas);
    }
    // Both accounts are loaded and the balance is there.
    let moved = transfer::move_value(&mut context.host.journaled_state, own, receiver, balance.data);
    context.host.or_fatal(moved)?;
    Err(InstructionResult::Stop)
}

/// In fork 4 the input of a create frame is its init code, but its size reads as 0 (evm Q2).
fn calldatasize_of_initcode<DB: StateDatabase, O: EvmObserver>(context: Ctx<'_, DB, O>) -> InstructionExecResult {
    if context.interpreter.input.bytecode_address().is_none() {
        return push(context, U256::ZERO);
    }
    system::calldatasize(context)
}
