//! What clients of the HashDB service rely on (hashdb-service §4, §6, §10).

use revm::primitives::U256;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use zkevm_executor::server::Server;
use zkevm_tree::{Digest, linear_hash};
use zkevm_wire::proto::hashdb::v1 as wire;

use super::support::*;

fn set_request(root: Digest, key: Digest, value: &str) -> wire::SetRequest {
    wire::SetRequest {
        old_root: fea(root),
        key: fea(key),
        value: value.to_owned(),
        persistence: DATABASE,
        ..Default::default()
    }
}

/// Steps 1 to 13 of the specification's table S1, immediate and with details.
#[tokio::test(flavor = "multi_thread")]
async fn details_of_sets_and_gets_are_those_of_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let two_64 = Digest([2, 1, 0, 0]);
    let step_3 = "0x0f740b94e3935291daf0998666160414f14a93bb7be05ad56df4df21ff817c1d";
    let step_6 = "0xd864bbb3fadd160179bc8e153696b6d77850f08520ccf7f42d24d65a138e9a12";
    let zero = "0x0000000000000000000000000000000000000000000000000000000000000000";
    let one_leaf = "0x7212762089bfe2505ebbd8f1696acb835ecaf394d0f8d191e4c026dab9ddcfa5";
    let step_10 = "0xc348b36d171c082c854a3897f3ec3b087678f9b679da5746838eb680df19bad6";
    // Key, value; mode, counter, siblings, insKey, insValue, oldValue, new root.
    let steps = [
        (raw(0), "0", "zeroToZero", 0, 0, None, "0", zero),
        (raw(1), "2", "insertNotFound", 2, 0, None, "0", one_leaf),
        (raw(1), "3", "update", 4, 0, None, "2", step_3),
        (
            raw(0),
            "5",
            "insertFound",
            6,
            0,
            Some((1, "3")),
            "0",
            "0xeba194e361111da0b7836c43a81dcf1632758e204fd103492c85c6f507362b9b",
        ),
        (
            raw(2),
            "7",
            "insertFound",
            11,
            1,
            Some((0, "5")),
            "0",
            "0x36be71fd9ceda4236f1b3b6ed9d75eac1eba0b83e97d2db95ef752c346edae60",
        ),
        (two_64, "8", "insertNotFound", 6, 2, None, "0", step_6),
        (raw(2), "7", "update", 14, 5, None, "7", step_6),
        (raw(4), "0", "zeroToZero", 7, 5, Some((0, "5")), "0", step_6),
        (
            raw(0),
            "0",
            "deleteFound",
            12,
            2,
            Some((2, "7")),
            "5",
            "0x96b701ddf133eb25de4ae077edd1195cce660a217a97079c8921abd1348e278e",
        ),
        (two_64, "0", "deleteFound", 8, 1, Some((2, "7")), "8", step_10),
        (raw(2), "0", "deleteFound", 6, 0, Some((1, "3")), "7", step_3),
        (raw(2), "0", "zeroToZero", 2, 0, Some((1, "3")), "0", step_3),
        (raw(1), "0", "deleteNotFound", 2, 0, None, "3", zero),
    ];
    let mut root = Digest::ZERO;
    for (number, (key, value, mode, counter, siblings, inserted, old_value, new_root)) in steps.into_iter().enumerate()
    {
        let request = wire::SetRequest { details: true, get_db_read_log: true, ..set_request(root, key, value) };
        let answer = client.set(request).await.unwrap().into_inner();
        let step = number + 1;
        assert_eq!((answer.mode.as_str(), answer.proof_hash_counter), (mode, counter), "step {step}");
        assert_eq!((answer.siblings.len(), answer.is_old0), (siblings, inserted.is_none()), "step {step}");
        assert_eq!((answer.old_value.as_str(), answer.new_value.as_str()), (old_value, value), "step {step}");
        let (ins_key, ins_value) = inserted.unwrap_or((0, "0"));
        assert_eq!((digest(answer.ins_key), answer.ins_value.as_str()), (raw(ins_key), ins_value), "step {step}");
        assert_eq!(answer.db_read_log.is_empty(), root.is_zero(), "step {step}");
        root = digest(answer.new_root);
        assert_eq!(hex(root), new_root, "step {step}");

        let request = wire::GetRequest { root: fea(root), key: fea(key), details: true, ..Default::default() };
        let answer = client.get(request).await.unwrap().into_inner();
        assert_eq!(answer.value, format!("{:064x}", U256::from_str_radix(value, 16).unwrap()), "step {step}");
        assert_eq!((digest(answer.root), digest(answer.key)), (root, key), "step {step}");
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_an_unknown_root_is_zero_with_a_code_and_a_write_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let unknown = Digest([1, 2, 3, 4]);
    assert_eq!(get(&mut client, unknown, raw(1)).await, (U256::ZERO, NOT_FOUND));
    assert_eq!(get(&mut client, Digest::ZERO, raw(1)).await, (U256::ZERO, SUCCESS));
    assert_eq!(client.set(set_request(unknown, raw(1), "1")).await.unwrap_err().code(), Code::NotFound);
    let absent = client.get_program(wire::GetProgramRequest { key: fea(unknown), ..Default::default() }).await;
    let absent = absent.unwrap().into_inner();
    assert_eq!((absent.data.len(), code(absent.result)), (0, NOT_FOUND));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_calls_are_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    for value in ["", "0x1", "xyz", &"1".repeat(65)] {
        let status = client.set(set_request(Digest::ZERO, raw(1), value)).await.unwrap_err();
        assert_eq!(status.code(), Code::Cancelled, "{value:?}");
    }
    let request = wire::SetRequest { persistence: 4, ..set_request(Digest::ZERO, raw(1), "1") };
    assert_eq!(client.set(request).await.unwrap_err().code(), Code::Cancelled);
    let request = wire::FlushRequest { new_state_root: "1".repeat(65), ..Default::default() };
    assert_eq!(client.flush(request).await.unwrap_err().code(), Code::Cancelled);
    let wrong = wire::FeList { fe: vec![1; 12] };
    let request = wire::LoadDbRequest { input_db: [("0x1".to_owned(), wrong)].into(), ..Default::default() };
    assert_eq!(client.load_db(request).await.unwrap_err().code(), Code::Cancelled);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_ids_grow_by_one_and_are_stored_without_further_calls() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let empty = client.flush(wire::FlushRequest::default()).await.unwrap().into_inner();
    assert_eq!((empty.flush_id, empty.stored_flush_id), (1, 1));
    let mut root = Digest::ZERO;
    for flush_id in 2..10 {
        let mut session = Session::start(client.clone(), root).await;
        session.set(raw(flush_id), U256::from(flush_id)).await;
        let flushed = session.flush().await;
        assert_eq!(flushed.1, flush_id);
        root = flushed.0;
    }
    stored(&mut client, 9).await;
    let status = client.get_flush_status(()).await.unwrap().into_inner();
    assert_eq!((status.last_flush_id, status.pending_to_flush_nodes), (9, 0));
    assert_eq!((status.storing_nodes, status.storing_program), (0, 0), "nothing is on its way");
    assert_eq!(status.prover_id, server.prover_id());
    let of_executor = executor(&server).await.get_flush_status(()).await.unwrap().into_inner();
    assert_eq!((of_executor.stored_flush_id, of_executor.prover_id), (9, status.prover_id));
    let latest = client.get_latest_state_root(()).await.unwrap().into_inner();
    assert_eq!((digest(latest.latest_root), code(latest.result)), (root, SUCCESS));

    let data = client.get_flush_data(wire::GetFlushDataRequest { flush_id: 8 }).await.unwrap().into_inner();
    assert_eq!((data.stored_flush_id, code(data.result)), (9, SUCCESS));
    assert!(data.nodes.contains_key(hex(root).trim_start_matches("0x")), "{data:?}");
    assert!(data.nodes.values().all(|node| node.len() == 192) && data.nodes_state_root.len() == 192);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loaded_entries_are_read_and_a_tree_is_read_with_its_proof() {
    let folder = tempfile::tempdir().unwrap();
    let first_folder = tempfile::tempdir().unwrap();
    let first = start(first_folder.path()).await;
    let mut source = hashdb(&first).await;
    let mut session = Session::start(source.clone(), Digest::ZERO).await;
    session.set(raw(1), U256::from(10)).await;
    session.set(raw(2), U256::from(255)).await;
    let (root, _) = session.flush().await;
    let request = wire::ReadTreeRequest {
        state_root: fea(root),
        keys: [1, 2, 3].into_iter().filter_map(|key| fea(raw(key))).collect(),
    };
    let tree = source.read_tree(request).await.unwrap().into_inner();
    let values: Vec<_> = tree.key_value.iter().map(|entry| entry.value.as_str()).collect();
    assert_eq!((values, code(tree.result)), (vec!["a", "ff", "0"], SUCCESS));

    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let input_db = tree.hash_value.into_iter().map(|entry| {
        let node = entry.value.unwrap();
        let mut fe = vec![node.fe0, node.fe1, node.fe2, node.fe3, node.fe4, node.fe5, node.fe6, node.fe7];
        fe.extend([node.fe8, node.fe9, node.fe10, node.fe11]);
        (hex(digest(entry.hash)), wire::FeList { fe })
    });
    let request = wire::LoadDbRequest { input_db: input_db.collect(), persistent: true, state_root: None };
    client.load_db(request).await.unwrap();
    assert_eq!(get(&mut client, root, raw(2)).await, (U256::from(255), SUCCESS));

    let program = linear_hash(&[1, 2, 3]);
    let input_program_db = [(hex(program), vec![1_u8, 2, 3].into())].into();
    client.load_program_db(wire::LoadProgramDbRequest { input_program_db, persistent: true }).await.unwrap();
    let answer = client.get_program(wire::GetProgramRequest { key: fea(program), ..Default::default() }).await;
    assert_eq!(answer.unwrap().into_inner().data.to_vec(), [1, 2, 3]);
    first.shutdown().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_do_little_answer_as_specified() {
    let folder = tempfile::tempdir().unwrap();
    let mut with_reset = config(folder.path());
    with_reset.hashdb.allow_reset = true;
    let server = Server::new(with_reset).start().await.unwrap();
    let mut client = hashdb(&server).await;
    let request = wire::ConsolidateStateRequest { virtual_state_root: fea(raw(7)), persistence: DATABASE };
    let consolidated = client.consolidate_state(request).await.unwrap().into_inner();
    assert_eq!((digest(consolidated.consolidated_state_root), consolidated.flush_id), (raw(7), 1));
    assert_eq!(code(client.purge(wire::PurgeRequest::default()).await.unwrap().into_inner().result), SUCCESS);
    let cancel = |uuid: &str| wire::CancelBatchRequest { batch_uuid: uuid.to_owned() };
    assert_eq!(code(client.cancel_batch(cancel("nobody")).await.unwrap().into_inner().result), 25);
    let session = Session::start(client.clone(), Digest::ZERO).await;
    assert_eq!(code(client.cancel_batch(cancel(&session.uuid)).await.unwrap().into_inner().result), SUCCESS);

    let root = digest(client.set(set_request(Digest::ZERO, raw(1), "1")).await.unwrap().into_inner().new_root);
    assert_eq!(code(client.reset_db(()).await.unwrap().into_inner().result), SUCCESS);
    assert_eq!(get(&mut client, root, raw(1)).await, (U256::ZERO, NOT_FOUND));
    server.shutdown().await;

    let server = start(folder.path()).await;
    let refused = hashdb(&server).await.reset_db(()).await.unwrap().into_inner();
    assert_eq!(code(refused.result), 3);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_writes_are_read_until_the_process_ends() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let request = wire::SetRequest { persistence: CACHE, ..set_request(Digest::ZERO, raw(1), "c") };
    let root = digest(client.set(request).await.unwrap().into_inner().new_root);
    assert_eq!(get(&mut client, root, raw(1)).await, (U256::from(12), SUCCESS));
    assert_eq!(digest(client.get_latest_state_root(()).await.unwrap().into_inner().latest_root), Digest::ZERO);
    server.shutdown().await;
    let server = start(folder.path()).await;
    assert_eq!(get(&mut hashdb(&server).await, root, raw(1)).await, (U256::ZERO, NOT_FOUND));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut health = HealthClient::new(connect(server.hashdb_addr()).await);
    for service in ["", "hashdb.v1.HashDBService"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status, 1, "{service:?}");
    }
    server.shutdown().await;
}
