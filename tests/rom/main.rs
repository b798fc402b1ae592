//! The second engine with the ROM files of the operator, which are not part of the repository.
//!
//! They lie in the folder of `ZKEVM_ROMS`, as `fork_1.json` to `fork_13.json`.

mod alike;
mod recordings;
mod steps;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use rand::{Rng, SeedableRng};
use zkevm_pool::{CancelToken, Cancelled, WorkerPool};
use zkevm_rom::{Machine, NoHandler, Request, RomTree, Variable, load};
use zkevm_store::MemoryStore;
use zkevm_types::{AccountOverride, L1InfoLeaf};

/// Returns the ROM file of a fork, `None` with a line on the standard error if there is no folder of ROMs.
fn rom(fork: u64) -> Option<Vec<u8>> {
    let Some(folder) = std::env::var_os("ZKEVM_ROMS") else {
        zkevm_testkit::skip::missing_data("no folder of ROM files (set ZKEVM_ROMS)");
        return None;
    };
    let path = std::path::Path::new(&folder).join(format!("fork_{fork}.json"));
    let file = std::fs::read(&path);
    if file.is_err() {
        zkevm_testkit::skip::missing_data(&format!("no ROM file at {}", path.display()));
    }
    file.ok()
}

#[test]
fn every_rom_loads() {
    for fork in 1..=13 {
        let Some(json) = rom(fork) else { continue };
        let start = std::time::Instant::now();
        let loaded = load(&json, fork).unwrap_or_else(|error| panic!("fork {fork}: {error}"));
        println!("fork {fork}: {} lines, {:?}", loaded.program.line_count(), start.elapsed());
        assert_eq!(loaded.unknown_fields, Vec::<String>::new(), "fork {fork}");
    }
}

/// Rows of main-state-machine §15.
#[test]
fn facts_of_the_roms_are_those_of_the_specification() {
    let lines = [
        (4, 5017),
        (5, 5045),
        (6, 5049),
        (7, 13179),
        (8, 13260),
        (9, 13268),
        (10, 13268),
        (11, 13268),
        (12, 13269),
        (13, 15058),
    ];
    for (fork, count) in lines {
        let Some(json) = rom(fork) else { continue };
        let program = load(&json, fork).unwrap().program;
        assert_eq!(program.line_count(), count, "fork {fork}");
        let labels: &[(&str, [u32; 8])] = &[
            ("finalizeExecution", [96, 99, 99, 107, 107, 107, 107, 107]),
            ("checkAndSaveFrom", [3911, 3916, 3920, 416, 416, 416, 416, 416]),
            ("ecrecover_store_args", [2616, 2619, 2619, 10269, 10249, 10249, 10249, 12034]),
            ("ecrecover_end", [2703, 2706, 2706, 10356, 10336, 10336, 10336, 12121]),
            ("invalidIntrinsicTxSenderCode", [4205, 4222, 4226, 11874, 11854, 11854, 11855, 13644]),
            ("outOfCountersStep", [4663, 4659, 4663, 12400, 12380, 12380, 12381, 14170]),
        ];
        let column = match fork {
            13 => 7,
            12 => 6,
            9..=11 => 5,
            other => other as usize - 4,
        };
        for (name, addresses) in labels {
            assert_eq!(program.label(name), Some(addresses[column]), "fork {fork}, {name}");
        }
        let offsets = [
            (Variable::Timestamp, [6, 6, 6, 7, 7, 7, 7, 7]),
            (Variable::NewAccInputHash, [9, 9, 9, 13, 13, 13, 13, 13]),
            (Variable::LastCtxUsed, [14, 14, 14, 18, 18, 18, 18, 18]),
            (Variable::TxS, [7, 8, 8, 8, 8, 8, 8, 8]),
            (Variable::RetDataCtx, [26, 27, 27, 30, 30, 30, 30, 30]),
            (Variable::CalldataOffset, [48, 28, 28, 31, 31, 31, 31, 31]),
            (Variable::GasCtx, [38, 41, 41, 44, 44, 44, 44, 44]),
        ];
        for (variable, expected) in offsets {
            assert_eq!(program.offset(variable), Some(expected[column]), "fork {fork}, {variable:?}");
        }
        let (steps, hard) = match fork {
            10 => (16_357_591, 16_777_016),
            11..=13 => (33_134_805, 33_554_232),
            _ => (7_968_988, 8_388_408),
        };
        assert_eq!((program.planned_limits().steps, program.hard_limits().steps), (steps, hard), "fork {fork}");
    }
}

/// Native code takes the place of known lines only. If what a line is made of changes, so do their digests
/// (`crates/rom/src/load/known.rs`).
#[test]
fn lines_with_native_code_are_known() {
    for fork in 1..=13 {
        let Some(json) = rom(fork) else { continue };
        let known = load(&json, fork).unwrap().program.intrinsics();
        println!("fork {fork}: {known:?}");
        let has_product = known.contains(&"product of points");
        // Forks before do these in other ways.
        assert_eq!(has_product, fork >= 6, "fork {fork}");
        assert_eq!(known.contains(&"bytes of a PUSH"), fork >= 3, "fork {fork}");
        assert_eq!(known.contains(&"bytes to hash"), fork >= 5, "fork {fork}");
        let others =
            known.iter().filter(|name| !["product of points", "bytes of a PUSH", "bytes to hash"].contains(name));
        assert_eq!(others.count(), 6, "fork {fork}: {known:?}");
    }
}

/// A file that was cut, or changed at some places, is refused or gives a program that comes to an outcome.
#[test]
fn damaged_files_are_refused_or_run() {
    let Some(json) = rom(9) else { return };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    for _ in 0..40 {
        let cut = rng.gen_range(0..json.len());
        assert!(load(&json[..cut], 9).is_err(), "cut at {cut}");
    }
    let (l1_info, state_override) = Default::default();
    let request = empty_request(&l1_info, &state_override);
    for round in 0..40 {
        let mut damaged = json.clone();
        for _ in 0..=rng.gen_range(0..3) {
            let place = rng.gen_range(0..damaged.len());
            damaged[place] = b"0123456789\",:{}[]-x"[rng.gen_range(0..19)];
        }
        let Ok(loaded) = load(&damaged, 9) else { continue };
        let store = MemoryStore::new(0);
        let tree = RomTree::new(&store, WorkerPool::none(), Default::default());
        let cancel = CancelToken::new(Some(Instant::now() + Duration::from_millis(50)));
        let ended = Machine::new(&loaded.program, &request, tree).run(&mut NoHandler, &cancel);
        println!("round {round}: {:?}", ended.map(|outcome| outcome.error));
    }
}

#[test]
fn a_client_that_left_stops_the_machine() {
    let Some(json) = rom(9) else { return };
    let program = load(&json, 9).unwrap().program;
    let (l1_info, state_override) = Default::default();
    let request = empty_request(&l1_info, &state_override);
    let store = MemoryStore::new(0);
    let tree = RomTree::new(&store, WorkerPool::none(), Default::default());
    let cancel = CancelToken::default();
    cancel.cancel();
    let ended = Machine::new(&program, &request, tree).run(&mut NoHandler, &cancel);
    assert_eq!(ended.map(drop), Err(Cancelled::Client));
}

fn empty_request<'a>(
    l1_info: &'a HashMap<u32, L1InfoLeaf>,
    state_override: &'a HashMap<Address, AccountOverride>,
) -> Request<'a> {
    Request { timestamp_limit: u64::MAX, ..Request::empty(l1_info, state_override) }
}
