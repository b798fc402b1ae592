//! The way through the ROM, line by line, against the recorded one: a machine that is wrong differs first at a step with a name.

use std::fs::{self, File};
use std::io::Read;

use flate2::read::GzDecoder;
use prost::Message;
use serde_json::Value;
use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_rom::{Abort, Event, EventHandler, Machine, Request, RomTree, TreeAccess, View, load};
use zkevm_store::{NoState, RequestOverlay};
use zkevm_testkit::skip;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::validate::{self, ValidationRules};

/// Longest recorded way, in steps.
const STEPS_MAX: usize = 1 << 20;

/// Writes down the lines that run.
#[derive(Default)]
struct Lines(Vec<u32>);

impl EventHandler for Lines {
    fn event(&mut self, _event: Event<'_>, _view: &mut View<'_, '_>) -> Result<(), Abort> {
        Ok(())
    }

    fn tree_access(&mut self, _access: &TreeAccess) -> Result<(), Abort> {
        Ok(())
    }

    fn line(&mut self, address: u32) {
        if self.0.len() < STEPS_MAX {
            self.0.push(address);
        }
    }
}

#[test]
fn lines_run_in_the_recorded_order() {
    let Some(index) = skip::rom_steps("INDEX.json") else { return };
    let entries: Vec<Value> = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    for entry in &entries {
        let case = entry["case"].as_str().unwrap();
        let fork = entry["forkID"].as_u64().unwrap();
        let Some(json) = super::rom(fork) else { continue };
        let (folder, name) = case.split_once('/').unwrap();
        let file = format!("{name}.req.pb.gz");
        let request = if folder == "golden" { skip::recordings(&file) } else { skip::later_recordings(&file) };
        let Some(request) = request else { continue };
        let expected = recorded(&text(&index.with_file_name(entry["file"].as_str().unwrap())));
        assert_eq!(Some(expected.len() as u64), entry["steps"].as_u64(), "{case}");

        let request = wire::ProcessBatchRequestV2::decode(&*bytes(&request)).unwrap();
        let input = validate::process_batch_v2(request, ValidationRules::default()).unwrap();
        let program = load(&json, fork).unwrap().program;
        let state = RequestOverlay { base: &NoState, nodes: &input.db, programs: &input.contracts_bytecode };
        let tree = RomTree::new(&state, WorkerPool::none(), Default::default());
        let no_l1_info = Default::default();
        let request = Request::of(&input, &no_l1_info);
        let mut lines = Lines::default();
        let mut machine = Machine::new(&program, &request, tree).with_intrinsics(false);
        machine.run(&mut lines, &CancelToken::default()).unwrap();

        // A batch that the tracer gives up goes on without it.
        let is_whole = entry["cnt_steps"] != 0;
        assert!(!is_whole || lines.0.len() == expected.len(), "{case}: {} steps", lines.0.len());
        let difference = (0..expected.len()).find(|&step| lines.0.get(step) != expected.get(step));
        assert_eq!(difference, None, "{case}: the first step that differs");
        println!("{case}: {} of {} steps", expected.len(), lines.0.len());
    }
}

/// Returns the lines of a recording: each of its rows is where a stretch begins, and its length.
fn recorded(text: &str) -> Vec<u32> {
    let stretch = |row: &str| {
        let (start, length) = row.split_once(' ').unwrap();
        let start: u32 = start.parse().unwrap();
        start..start + length.parse::<u32>().unwrap()
    };
    text.lines().flat_map(stretch).collect()
}

fn bytes(path: &std::path::Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn text(path: &std::path::Path) -> String {
    String::from_utf8(bytes(path)).unwrap()
}
