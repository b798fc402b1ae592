//! ROM files: whatever is in one, it is refused or it runs to an outcome.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_rom::{Machine, NoHandler, Request, RomTree, Variable, load};
use zkevm_store::MemoryStore;
use zkevm_types::L1InfoLeaf;

use super::{Target, kind_of, without_digits};

/// The file of a ROM of fork 9.
pub const TARGET: Target = Target {
    name: "rom",
    run: target,
    seeds,
    dictionary: &[
        br#""setA":1,"#,
        br#""inSR":"-1","#,
        br#""CONSTL":"115792089237316195423570985008687907853269984665640564039457584007913129639935","#,
        br#""JMPN":1,"useJmpAddr":1,"jmpAddr":0,"#,
        br#""mOp":1,"mWR":1,"offset":5,"#,
        br#""ind":1,"isMem":1,"useCTX":1,"#,
        br#""sWR":1,"inFREE":"1","freeInTag":{"op":""},"setSR":1,"#,
        br#""hashP1":1,"#,
        br#""arithEq1":1,"#,
        br#""bin":1,"binOpcode":1,"#,
        br#""memAlignRD":1,"#,
        br#""cmdAfter":[{"op":"functionCall","funcName":"exp","params":[{"op":"number","num":"7"}]}],"#,
        br#"{"op":"shl","values":[{"op":"getReg","regName":"A"},{"op":"number","num":"500"}]}"#,
    ],
    input_bytes_max: 16 << 10,
    memory_bytes_max: 32 << 20,
};

const FORK: u64 = 9;
/// What a program may run: most end at once, a loop never.
const TIME: Duration = Duration::from_millis(5);
/// Labels that a ROM must have.
const LABELS: [&str; 15] = [
    "finalizeExecution",
    "checkAndSaveFrom",
    "ecrecover_store_args",
    "ecrecover_end",
    "checkFirstTxType",
    "writeBlockInfoRoot",
    "verifyMerkleProofEnd",
    "outOfCountersStep",
    "outOfCountersArith",
    "outOfCountersBinary",
    "outOfCountersKeccak",
    "outOfCountersMemalign",
    "outOfCountersPoseidon",
    "outOfCountersPadding",
    "outOfCountersSha256",
];
const COUNTERS: [&str; 8] =
    ["STEPS", "ARITH", "BINARY", "MEM_ALIGN", "KECCAK_F", "PADDING_PG", "POSEIDON_G", "SHA256_F"];

/// Loads the file and runs the program over an empty batch.
pub fn target(data: &[u8]) -> u64 {
    let program = match load(data, FORK) {
        Ok(loaded) => loaded.program,
        Err(error) => return kind_of(&without_digits(&error)),
    };
    let (l1_info, state_override) = (HashMap::<u32, L1InfoLeaf>::new(), HashMap::new());
    let request = Request { batch_l2_data: &[1, 2, 3], get_keys: true, ..Request::empty(&l1_info, &state_override) };
    let store = MemoryStore::new(0);
    let tree = RomTree::new(&store, WorkerPool::none(), Default::default());
    let cancel = CancelToken::new(Some(Instant::now() + TIME));
    match Machine::new(&program, &request, tree).run(&mut NoHandler, &cancel) {
        Ok(outcome) => kind_of(&(outcome.error.number(), outcome.is_aborted)),
        Err(_) => kind_of(&"cancelled"),
    }
}

/// A program with everything that a ROM must have, and one line of each kind.
fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        r#"{"CONST":"5","setA":1,"setB":1}"#,
        r#"{"inA":"2","inB":"-1","inSTEP":"1","setC":1,"setD":1}"#,
        r#"{"inFREE":"1","freeInTag":{"op":""},"bin":1,"binOpcode":0,"setE":1}"#,
        r#"{"inA":"1","mOp":1,"mWR":1,"offset":9,"ind":1,"setRCX":1}"#,
        r#"{"inFREE":"1","freeInTag":{"op":""},"mOp":1,"offset":9,"useCTX":1,"setC":1}"#,
        r#"{"inFREE":"1","freeInTag":{"op":""},"sWR":1,"setSR":1}"#,
        r#"{"inFREE":"1","freeInTag":{"op":""},"sRD":1,"setD":1}"#,
        r#"{"CONST":"7","hashP1":1,"offset":1}"#,
        r#"{"inHASHPOS":"1","hashPLen":1,"offset":1}"#,
        r#"{"inFREE":"1","freeInTag":{"op":""},"hashPDigest":1,"offset":1,"setA":1}"#,
        r#"{"CONST":"1","JMPZ":1,"useJmpAddr":1,"jmpAddr":12,"elseAddr":11,"useElseAddr":1}"#,
        r#"{"inFREE":"1","freeInTag":{"op":"functionCall","funcName":"xDblPointEc","params":[{"op":"getReg","regName":"A"},{"op":"getReg","regName":"A"}]},"setB":1}"#,
        r#"{"inFREE":"1","freeInTag":{"op":"setVar","values":[{"op":"declareVar","varName":"x"},{"op":"mul","values":[{"op":"getReg","regName":"A"},{"op":"number","num":"-3"}]}]},"setC":1}"#,
        r#"{"cmdBefore":[{"op":"functionCall","funcName":"eventLog","params":[{"op":"getVar","varName":"onFinishBatch"}]}]}"#,
    ];
    let mut rom = String::from("{\"program\":[");
    lines.iter().for_each(|line| rom.push_str(&format!("{line},")));
    for (offset, variable) in Variable::all().enumerate() {
        let use_ctx = u8::from(!variable.is_global());
        let _ = write!(rom, r#"{{"offset":{offset},"offsetLabel":"{}","useCTX":{use_ctx}}},"#, variable.name());
    }
    rom.push_str("{}],\"labels\":{");
    let last = lines.len();
    let labels: Vec<String> = LABELS.iter().map(|label| format!("\"{label}\":{last}")).collect();
    rom.push_str(&labels.join(","));
    rom.push_str("},\"constants\":{");
    for counter in COUNTERS {
        let _ = write!(rom, r#""MAX_CNT_{counter}":{{"value":"90"}},"MAX_CNT_{counter}_LIMIT":{{"value":"100"}},"#);
    }
    let _ = write!(rom, r#""BLOCK_GAS_LIMIT":{{"value":"1"}},"FORK_ID":{{"value":"{FORK}"}}}}}}"#);
    vec![rom.into_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_a_program() {
        let seeds = seeds();
        load(&seeds[0], FORK).unwrap();
    }
}
