//! Recorded requests as batches with the state they run on.

use prost::Message;
use zkevm_testkit::skip;
use zkevm_testkit::vectors::golden::{GoldenCase, Rpc, read_indexes};
use zkevm_types::{BatchInput, CountersPolicy};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::validate::{self, ValidationRules};

/// Longest batch that is taken, in bytes.
const BATCH_BYTES_MAX: usize = 20_000;

/// The recorded requests at hand.
pub(crate) struct Recordings {
    cases: Vec<GoldenCase>,
    /// Stateless requests of running sequencers.
    sequencers: Vec<std::path::PathBuf>,
}

impl Recordings {
    /// Reads the indexes; `None` without any.
    pub(crate) fn open() -> Option<Self> {
        let parts = ["vectors", "variants", "errors", "stateless"];
        let folders: Vec<_> = parts[..3].iter().filter_map(|part| skip::recordings(part)).collect();
        let later: Vec<_> = parts.iter().filter_map(|part| skip::later_recordings(part)).collect();
        let mut cases = read_indexes(&[folders, later].concat()).expect("the indexes of the recordings are readable");
        // Later requests of a chain bring no state.
        cases.retain(|case| case.step <= 1);
        let mut sequencers = Vec::new();
        if let Some(index) = skip::stateless_requests("index.json") {
            let entries: Vec<serde_json::Value> =
                serde_json::from_slice(&std::fs::read(&index).expect("the index is readable"))
                    .expect("the index is JSON");
            sequencers.extend(entries.iter().filter_map(|entry| Some(index.with_file_name(entry["file"].as_str()?))));
        }
        (!cases.is_empty()).then_some(Self { cases, sequencers })
    }

    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.cases.len() + self.sequencers.len()
    }

    /// Returns a request's name, and the request if it is a valid one of no unusual length.
    pub(crate) fn get(&self, number: usize) -> (String, Option<BatchInput>) {
        match self.cases.get(number) {
            Some(case) => (case.name.clone(), input(case.rpc, &case.request().expect("the request is readable"))),
            None => {
                let file = &self.sequencers[number - self.cases.len()];
                let request = std::fs::read(file).expect("the request is readable");
                (file.display().to_string(), input(Rpc::ProcessStatelessBatchV2, &request))
            }
        }
    }
}

fn input(rpc: Rpc, request: &[u8]) -> Option<BatchInput> {
    let rules = ValidationRules { counters_policy: CountersPolicy::Report, ..ValidationRules::default() };
    let input = match rpc {
        Rpc::ProcessBatch => validate::process_batch(wire::ProcessBatchRequest::decode(request).ok()?, rules),
        Rpc::ProcessBatchV2 => validate::process_batch_v2(wire::ProcessBatchRequestV2::decode(request).ok()?, rules),
        Rpc::ProcessStatelessBatchV2 => {
            validate::process_stateless_batch_v2(wire::ProcessStatelessBatchRequestV2::decode(request).ok()?, rules)
        }
    };
    input.ok().filter(|input| input.batch_l2_data.len() <= BATCH_BYTES_MAX)
}
