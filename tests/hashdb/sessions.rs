//! Batch sessions over gRPC: who sees what when, what a flush keeps (hashdb-service §5).

use revm::primitives::U256;
use tonic::Code;
use tonic::transport::Channel;
use zkevm_executor::server::RunningServer;
use zkevm_tree::{Digest, linear_hash};
use zkevm_wire::proto::hashdb::v1 as wire;
use zkevm_wire::proto::hashdb::v1::hash_db_service_client::HashDbServiceClient;

use super::support::*;

const UUID: &str = "session";
/// Of the wire's table of codes, where it has no name.
const STATE_MANAGER: i32 = 25;
const TEMPORARY: i32 = wire::Persistence::Temporary as i32;
/// Accepted though the contract has no name for it.
const TEMPORARY_HASH: i32 = 3;

/// Writes a leaf of the session, with a key and a value of this number, at a block and transaction.
fn write(root: Digest, number: u64, (block_index, tx_index): (u64, u64)) -> wire::SetRequest {
    wire::SetRequest {
        old_root: fea(root),
        key: fea(raw(number)),
        value: format!("{number:x}"),
        persistence: DATABASE,
        batch_uuid: UUID.to_owned(),
        block_index,
        tx_index,
        ..Default::default()
    }
}

/// The session's calls with these settings in mind: persistence DATABASE, the uuid above.
struct Calls {
    server: RunningServer,
    client: HashDbServiceClient<Channel>,
    folder: tempfile::TempDir,
}

impl Calls {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        let client = hashdb(&server).await;
        Self { server, client, folder }
    }

    /// The same database in a new process.
    async fn restart(self) -> Self {
        assert!(self.server.shutdown().await);
        let server = start(self.folder.path()).await;
        let client = hashdb(&server).await;
        Self { server, client, folder: self.folder }
    }

    async fn set(&mut self, request: wire::SetRequest) -> Digest {
        digest(self.client.set(request).await.unwrap().into_inner().new_root)
    }

    async fn set_program(&mut self, code_bytes: &[u8], block_index: u64, tx_index: u64) -> i32 {
        let request = wire::SetProgramRequest {
            key: fea(linear_hash(code_bytes)),
            data: code_bytes.to_vec().into(),
            persistence: DATABASE,
            batch_uuid: UUID.to_owned(),
            block_index,
            tx_index,
        };
        code(self.client.set_program(request).await.unwrap().into_inner().result)
    }

    async fn start_block(&mut self, root: &str) {
        let request = wire::StartBlockRequest {
            batch_uuid: UUID.to_owned(),
            old_state_root: root.to_owned(),
            persistence: DATABASE,
        };
        self.client.start_block(request).await.unwrap();
    }

    async fn finish_block(&mut self, root: &str) {
        let request = wire::FinishBlockRequest {
            batch_uuid: UUID.to_owned(),
            new_state_root: root.to_owned(),
            persistence: DATABASE,
        };
        self.client.finish_block(request).await.unwrap();
    }

    async fn finish_tx(&mut self, root: &str) {
        let request = wire::FinishTxRequest {
            batch_uuid: UUID.to_owned(),
            new_state_root: root.to_owned(),
            persistence: DATABASE,
        };
        self.client.finish_tx(request).await.unwrap();
    }

    /// Returns the code and the flush id.
    async fn flush(&mut self, root: &str, persistence: i32) -> (i32, u64) {
        let request = wire::FlushRequest { batch_uuid: UUID.to_owned(), new_state_root: root.to_owned(), persistence };
        let answer = self.client.flush(request).await.unwrap().into_inner();
        (code(answer.result), answer.flush_id)
    }

    /// Reads the leaf that [`write`] writes, outside of sessions; false if the root is not there.
    async fn has(&mut self, root: Digest, number: u64) -> bool {
        self.sees("", root, number).await
    }

    async fn sees(&mut self, uuid: &str, root: Digest, number: u64) -> bool {
        let batch_uuid = uuid.to_owned();
        let request = wire::GetRequest { root: fea(root), key: fea(raw(number)), batch_uuid, ..Default::default() };
        let answer = self.client.get(request).await.unwrap().into_inner();
        let value = U256::from_str_radix(&answer.value, 16).unwrap();
        match code(answer.result) {
            NOT_FOUND => assert_eq!(value, U256::ZERO),
            other => assert_eq!((other, value), (SUCCESS, U256::from(number))),
        }
        code(answer.result) == SUCCESS
    }

    async fn program(&mut self, code_bytes: &[u8], uuid: &str) -> i32 {
        let request = wire::GetProgramRequest { key: fea(linear_hash(code_bytes)), batch_uuid: uuid.to_owned() };
        let answer = self.client.get_program(request).await.unwrap().into_inner();
        if code(answer.result) == SUCCESS {
            assert_eq!(answer.data.to_vec(), code_bytes);
        } else {
            assert!(answer.data.is_empty());
        }
        code(answer.result)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_seen_with_its_uuid_only_until_it_is_flushed() {
    let mut calls = Calls::start().await;
    let root = calls.set(write(Digest::ZERO, 1, (0, 0))).await;
    assert_eq!(calls.set_program(&[1], 0, 0).await, SUCCESS);
    assert!(calls.sees(UUID, root, 1).await);
    assert_eq!(calls.program(&[1], UUID).await, SUCCESS);
    for other in ["", "another"] {
        assert!(!calls.sees(other, root, 1).await);
        assert_eq!(calls.program(&[1], other).await, NOT_FOUND);
    }
    assert_eq!(calls.flush(&hex(root), DATABASE).await, (SUCCESS, 1));
    assert!(calls.has(root, 1).await);
    // The uuid is free again, and reads with one that is not known are plain ones.
    assert!(calls.sees(UUID, root, 1).await);
    assert_eq!(calls.program(&[1], UUID).await, SUCCESS);
    assert_eq!(calls.flush(&hex(root), DATABASE).await, (SUCCESS, 2));
    calls.server.shutdown().await;
}

/// The way of zkevm-node's datastreamer tool, whose first program the original loses.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_needs_no_block_calls_and_may_begin_with_a_program() {
    let mut calls = Calls::start().await;
    assert_eq!(calls.set_program(&[1, 2], 0, 0).await, SUCCESS);
    let first = calls.set(write(Digest::ZERO, 1, (0, 0))).await;
    let root = calls.set(write(first, 2, (0, 0))).await;
    // The final root may have 0x or not, and letters of either case.
    let digits = hex(root).trim_start_matches("0x").to_uppercase();
    assert_eq!(calls.flush(&digits, DATABASE).await, (SUCCESS, 1));
    let mut calls = calls.restart().await;
    assert!(calls.has(root, 1).await && calls.has(root, 2).await && calls.has(first, 1).await);
    assert_eq!(calls.program(&[1, 2], "").await, SUCCESS);
    calls.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_kept_though_their_block_has_no_writes() {
    let mut calls = Calls::start().await;
    let root = calls.set(wire::SetRequest { batch_uuid: String::new(), ..write(Digest::ZERO, 1, (0, 0)) }).await;
    calls.start_block(&hex(root)).await;
    assert_eq!(calls.set_program(&[7], 0, 0).await, SUCCESS);
    // Neither the block before it nor the transaction are there, and these are not made.
    assert_eq!(calls.set_program(&[8], 1, 0).await, STATE_MANAGER);
    assert_eq!(calls.set_program(&[8], 0, 2).await, STATE_MANAGER);
    calls.finish_block(&hex(root)).await;
    assert_eq!(calls.flush(&hex(root), DATABASE).await, (SUCCESS, 1));
    assert_eq!((calls.program(&[7], "").await, calls.program(&[8], "").await), (SUCCESS, NOT_FOUND));
    calls.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_writes_are_seen_in_their_session_and_end_with_it() {
    let mut calls = Calls::start().await;
    let mut touched = Vec::new();
    for (number, persistence) in [(7, TEMPORARY), (8, TEMPORARY_HASH)] {
        touched.push(calls.set(wire::SetRequest { persistence, ..write(Digest::ZERO, number, (0, 0)) }).await);
    }
    let root = calls.set(write(Digest::ZERO, 1, (0, 0))).await;
    assert!(calls.sees(UUID, touched[0], 7).await && calls.sees(UUID, touched[1], 8).await);
    assert_eq!(calls.flush(&hex(root), DATABASE).await.0, SUCCESS);
    assert!(calls.has(root, 1).await && !calls.has(touched[0], 7).await && !calls.has(touched[1], 8).await);
    let latest = calls.client.get_latest_state_root(()).await.unwrap().into_inner();
    assert_eq!((digest(latest.latest_root), code(latest.result)), (root, SUCCESS));
    calls.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_and_blocks_are_undone_by_finishing_them_with_an_earlier_root() {
    let mut calls = Calls::start().await;
    calls.start_block("").await;
    let first = calls.set(write(Digest::ZERO, 1, (0, 0))).await;
    let reverted = calls.set(write(first, 2, (0, 0))).await;
    calls.finish_tx(&hex(first)).await;
    let second = calls.set(write(first, 3, (0, 1))).await;
    calls.finish_tx(&hex(second)).await;
    calls.finish_block(&hex(second)).await;
    calls.start_block(&hex(second)).await;
    let dropped = calls.set(write(second, 4, (1, 0))).await;
    let dropped_too = calls.set(write(dropped, 5, (1, 1))).await;
    calls.finish_block(&hex(second)).await;
    assert!(calls.sees(UUID, dropped_too, 5).await, "readable as long as the session lives");
    assert_eq!(calls.flush(&hex(second), DATABASE).await, (SUCCESS, 1));
    assert!(calls.has(first, 1).await && calls.has(second, 1).await && calls.has(second, 3).await);
    for (root, number) in [(reverted, 2), (dropped, 4), (dropped_too, 5)] {
        assert!(!calls.has(root, number).await, "{number}");
    }
    calls.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_an_earlier_block_leaves_the_latest_one_current() {
    let mut calls = Calls::start().await;
    let first = calls.set(write(Digest::ZERO, 1, (0, 0))).await;
    let second = calls.set(write(first, 2, (1, 0))).await;
    let third = calls.set(write(second, 3, (0, 1))).await;
    // Ends the second block with its last root: nothing is undone.
    calls.finish_block(&hex(second)).await;
    assert_eq!(calls.flush(&hex(third), DATABASE).await, (SUCCESS, 1));
    assert!(calls.has(third, 3).await);
    calls.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_refuses_leaves_it_as_it_was() {
    let mut calls = Calls::start().await;
    let elsewhere = calls.set(wire::SetRequest { batch_uuid: String::new(), ..write(Digest::ZERO, 9, (0, 0)) }).await;
    let root = calls.set(write(Digest::ZERO, 1, (0, 0))).await;
    // A write at a root that is nowhere, and one beyond any block a batch can have.
    let unknown = calls.client.set(write(Digest([1; 4]), 2, (0, 0))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let far = calls.client.set(write(root, 2, (u64::MAX, 0))).await.unwrap_err();
    assert_eq!(far.code(), Code::FailedPrecondition);
    // One that does not follow from what the transaction wrote: the flush finds out.
    let stray = calls.set(write(elsewhere, 2, (0, 0))).await;
    assert_eq!(calls.flush(&hex(stray), DATABASE).await, (STATE_MANAGER, 0));
    assert!(calls.sees(UUID, root, 1).await && !calls.has(root, 1).await);
    calls.finish_tx(&hex(elsewhere)).await;
    assert_eq!(calls.flush(&hex(root), DATABASE).await, (SUCCESS, 1));
    assert!(calls.has(root, 1).await && !calls.has(stray, 2).await);
    calls.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flush_decides_where_a_session_goes() {
    let mut calls = Calls::start().await;
    let kept = calls.set(wire::SetRequest { persistence: CACHE, ..write(Digest::ZERO, 1, (0, 0)) }).await;
    assert_eq!(calls.flush(&hex(kept), DATABASE).await, (SUCCESS, 1));
    let cached = calls.set(write(kept, 2, (0, 0))).await;
    assert_eq!(calls.set_program(&[5], 0, 0).await, SUCCESS);
    assert_eq!(calls.flush(&hex(cached), CACHE).await, (SUCCESS, 2));
    assert!(calls.has(kept, 1).await && calls.has(cached, 2).await);
    let latest = calls.client.get_latest_state_root(()).await.unwrap().into_inner().latest_root;
    assert_eq!(digest(latest), kept, "a root in memory only is not the latest one");
    let mut calls = calls.restart().await;
    assert!(calls.has(kept, 1).await && !calls.has(cached, 2).await);
    assert_eq!(calls.program(&[5], "").await, SUCCESS, "a program goes where it was sent to");
    calls.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_about_sessions_that_are_not_there_have_no_effect() {
    let mut calls = Calls::start().await;
    let zero = hex(Digest::ZERO);
    calls.finish_tx(&zero).await;
    calls.finish_block(&zero).await;
    assert_eq!(calls.flush(&zero, DATABASE).await, (SUCCESS, 1), "just takes an id");
    // An abandoned session is dropped whole.
    let root = calls.set(write(Digest::ZERO, 1, (0, 0))).await;
    let cancel = wire::CancelBatchRequest { batch_uuid: UUID.to_owned() };
    let cancelled = calls.client.cancel_batch(cancel.clone()).await.unwrap().into_inner();
    assert_eq!(code(cancelled.result), SUCCESS);
    assert!(!calls.sees(UUID, root, 1).await);
    let cancelled = calls.client.cancel_batch(cancel).await.unwrap().into_inner();
    assert_eq!(code(cancelled.result), STATE_MANAGER);
    calls.server.shutdown().await;
}
