//! Fields, defaults and modes of single answers of the HashDB service (hashdb-service §2, §4, §6, §9).

use std::time::Duration;

use revm::primitives::U256;
use tonic::Code;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use zkevm_executor::config::StoreKind;
use zkevm_executor::server::Server;
use zkevm_tree::poseidon::hash_node;
use zkevm_tree::{Digest, GOLDILOCKS_PRIME, NodeData, linear_hash};
use zkevm_wire::proto::hashdb::v1 as wire;

use super::support::*;

fn set_request(root: Digest, key: u64, value: &str) -> wire::SetRequest {
    wire::SetRequest {
        old_root: fea(root),
        key: fea(raw(key)),
        value: value.to_owned(),
        persistence: DATABASE,
        ..Default::default()
    }
}

/// The tree of the specification's table S4.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_tells_how_it_went_if_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let mut root = Digest::ZERO;
    for (key, value) in [(0, "1"), (1, "2")] {
        let answer = client.set(set_request(root, key, value)).await.unwrap().into_inner();
        root = digest(answer.new_root);
        // Not asked for details: nothing but the new root.
        let bare = wire::SetResponse { new_root: answer.new_root, result: answer.result, ..Default::default() };
        assert_eq!((code(answer.result), &answer), (SUCCESS, &bare));
    }
    assert_eq!(hex(root), "0x08500ebd22ea34240552b4656fdc8df9ca878879093b107177357c066c619173");
    // Key; value, counter, isOld0, insKey, insValue.
    let reads = [(0, 1, 3, true, 0, "0"), (2, 0, 3, false, 0, "1"), (3, 0, 3, false, 1, "2")];
    for (key, value, counter, is_old0, ins_key, ins_value) in reads {
        let request = wire::GetRequest { root: fea(root), key: fea(raw(key)), ..Default::default() };
        let bare = client.get(request.clone()).await.unwrap().into_inner();
        let expected = wire::GetResponse { value: format!("{value:064x}"), result: bare.result, ..Default::default() };
        assert_eq!((code(bare.result), &bare), (SUCCESS, &expected), "key {key}");

        let request = wire::GetRequest { details: true, get_db_read_log: true, ..request };
        let answer = client.get(request).await.unwrap().into_inner();
        assert_eq!((answer.proof_hash_counter, answer.is_old0), (counter, is_old0), "key {key}");
        assert_eq!((digest(answer.ins_key), answer.ins_value.as_str()), (raw(ins_key), ins_value), "key {key}");
        assert_eq!((digest(answer.root), digest(answer.key)), (root, raw(key)), "key {key}");
        assert_eq!(answer.siblings.keys().collect::<Vec<_>>(), [&0], "key {key}");
        // The root, a leaf and its value, each under the hash it has.
        assert_eq!(answer.db_read_log.len(), 3, "key {key}");
        for (hash, list) in &answer.db_read_log {
            let node: NodeData = list.fe.as_slice().try_into().unwrap();
            assert_eq!(format!("0x{hash}"), hex(hash_node(&node)), "key {key}");
        }
        let root_node = &answer.db_read_log[hex(root).trim_start_matches("0x")];
        assert_eq!(answer.siblings[&0].sibling, root_node.fe, "key {key}");
    }
    server.shutdown().await;
}

/// Only the root of the tree of table S4 is here.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_breaks_off_reads_as_zero_with_a_code_and_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let node: NodeData = [
        0x9399ede8fea8a822,
        0xca9c1bf52cc1bdd5,
        0x52203ae337815976,
        0x42bb2f66296df035,
        0xc66461ffff8de5c4,
        0xa7219b1e91392ff8,
        0x937b7f127362e62b,
        0xa6c0289125f68e18,
        0,
        0,
        0,
        0,
    ];
    let root = hash_node(&node);
    let input_db = [(hex(root), wire::FeList { fe: node.to_vec() })].into();
    client.load_db(wire::LoadDbRequest { input_db, persistent: true, state_root: None }).await.unwrap();
    let request = wire::GetRequest {
        root: fea(root),
        key: fea(raw(1)),
        details: true,
        get_db_read_log: true,
        ..Default::default()
    };
    let answer = client.get(request).await.unwrap().into_inner();
    assert_eq!((answer.value, code(answer.result)), ("0".repeat(64), NOT_FOUND));
    assert_eq!(answer.db_read_log.keys().collect::<Vec<_>>(), [hex(root).trim_start_matches("0x")]);
    assert_eq!(client.set(set_request(root, 1, "7")).await.unwrap_err().code(), Code::NotFound);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limbs_are_reduced_and_absent_messages_are_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let request = wire::SetRequest { old_root: None, key: None, ..set_request(Digest::ZERO, 0, "5") };
    let root = digest(client.set(request).await.unwrap().into_inner().new_root);
    assert_eq!(get(&mut client, root, raw(0)).await, (U256::from(5), SUCCESS));
    let [fe0, fe1, fe2, fe3] = root.0;
    // The same root if the limb fits once more into 64 bits.
    let fe0 = fe0.checked_add(GOLDILOCKS_PRIME).unwrap_or(fe0);
    let key = wire::Fea { fe0: GOLDILOCKS_PRIME, ..Default::default() };
    let request =
        wire::GetRequest { root: Some(wire::Fea { fe0, fe1, fe2, fe3 }), key: Some(key), ..Default::default() };
    let answer = client.get(request).await.unwrap().into_inner();
    assert_eq!((answer.value, code(answer.result)), (format!("{:064x}", 5), SUCCESS));
    let empty = client.get(wire::GetRequest::default()).await.unwrap().into_inner();
    assert_eq!((empty.value, code(empty.result)), ("0".repeat(64), SUCCESS));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_persistences_and_bad_roots_are_cancelled_by_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let good = hex(Digest::ZERO);
    let too_long = "0".repeat(65);
    let cases = [(4, good.as_str()), (-1, &good), (DATABASE, "0xg"), (DATABASE, &too_long)];
    for (persistence, root) in cases {
        let (batch_uuid, new_state_root) = ("one".to_owned(), root.to_owned());
        let start_block = wire::StartBlockRequest {
            batch_uuid: batch_uuid.clone(),
            old_state_root: new_state_root.clone(),
            persistence,
        };
        let finish_tx = wire::FinishTxRequest {
            batch_uuid: batch_uuid.clone(),
            new_state_root: new_state_root.clone(),
            persistence,
        };
        let finish_block = wire::FinishBlockRequest {
            batch_uuid: batch_uuid.clone(),
            new_state_root: new_state_root.clone(),
            persistence,
        };
        let flush = wire::FlushRequest { batch_uuid, new_state_root, persistence };
        let statuses = [
            client.start_block(start_block).await.unwrap_err(),
            client.finish_tx(finish_tx).await.unwrap_err(),
            client.finish_block(finish_block).await.unwrap_err(),
            client.flush(flush).await.unwrap_err(),
        ];
        for status in statuses {
            assert_eq!(status.code(), Code::Cancelled, "persistence {persistence}, root {root}");
        }
    }
    for persistence in [4, -1] {
        let set = wire::SetRequest { persistence, ..set_request(Digest::ZERO, 1, "1") };
        let statuses = [
            client.set(set).await.unwrap_err(),
            client.set_program(wire::SetProgramRequest { persistence, ..Default::default() }).await.unwrap_err(),
            client.purge(wire::PurgeRequest { persistence, ..Default::default() }).await.unwrap_err(),
            client
                .consolidate_state(wire::ConsolidateStateRequest { persistence, ..Default::default() })
                .await
                .unwrap_err(),
        ];
        for status in statuses {
            assert_eq!(status.code(), Code::Cancelled, "persistence {persistence}");
        }
    }
    let request = wire::GetRequest { batch_uuid: "u".repeat(257), ..Default::default() };
    assert_eq!(client.get(request).await.unwrap_err().code(), Code::Cancelled);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_outside_of_sessions_lasts_without_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let mut root = Digest::ZERO;
    for key in 1..4 {
        root = digest(client.set(set_request(root, key, "ab")).await.unwrap().into_inner().new_root);
    }
    let program = linear_hash(&[3, 2, 1]);
    let request = wire::SetProgramRequest {
        key: fea(program),
        data: vec![3, 2, 1].into(),
        persistence: DATABASE,
        // Without a session these mean nothing.
        block_index: 5,
        tx_index: 5,
        ..Default::default()
    };
    assert_eq!(code(client.set_program(request).await.unwrap().into_inner().result), SUCCESS);
    let mut status = client.get_flush_status(()).await.unwrap().into_inner();
    for _ in 0..2000 {
        status = client.get_flush_status(()).await.unwrap().into_inner();
        if status.pending_to_flush_program + status.storing_program == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let waiting = (status.pending_to_flush_nodes, status.pending_to_flush_program);
    assert_eq!((waiting, status.storing_program, status.last_flush_id), ((0, 0), 0, 0), "no flush, no id");
    assert_eq!(digest(client.get_latest_state_root(()).await.unwrap().into_inner().latest_root), root);
    assert!(server.shutdown().await);
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    assert_eq!(get(&mut client, root, raw(2)).await, (U256::from(0xab), SUCCESS));
    assert_eq!(digest(client.get_latest_state_root(()).await.unwrap().into_inner().latest_root), root);
    let request = wire::GetProgramRequest { key: fea(program), ..Default::default() };
    assert_eq!(client.get_program(request).await.unwrap().into_inner().data.to_vec(), [3, 2, 1]);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loading_takes_short_nodes_and_keys_and_refuses_false_ones() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    // A value node of 8 elements, a hundred times so that some hash begins with zeros that may be left out.
    let values: Vec<NodeData> =
        (1..100).map(|number| std::array::from_fn(|place| if place == 0 { number } else { 0 })).collect();
    let short = |node: &NodeData| wire::FeList { fe: node[..8].to_vec() };
    let name = |node: &NodeData| format!("0x{:x}", hash_node(node).to_u256());
    let input_db = values.iter().map(|node| (name(node), short(node))).collect();
    client.load_db(wire::LoadDbRequest { input_db, persistent: false, state_root: None }).await.unwrap();

    let bad_keys = ["", "0x", "g", &"0".repeat(65)];
    for key in bad_keys {
        let input_db = [(key.to_owned(), short(&values[0]))].into();
        let request = wire::LoadDbRequest { input_db, persistent: true, state_root: None };
        assert_eq!(client.load_db(request).await.unwrap_err().code(), Code::Cancelled, "{key:?}");
        let input_program_db = [(key.to_owned(), vec![1].into())].into();
        let request = wire::LoadProgramDbRequest { input_program_db, persistent: true };
        assert_eq!(client.load_program_db(request).await.unwrap_err().code(), Code::Cancelled, "{key:?}");
    }
    for fe in [vec![1; 12], vec![1; 7], Vec::new()] {
        let input_db = [(name(&values[0]), wire::FeList { fe })].into();
        let request = wire::LoadDbRequest { input_db, persistent: true, state_root: None };
        assert_eq!(client.load_db(request).await.unwrap_err().code(), Code::Cancelled);
    }
    let false_program = [(hex(linear_hash(&[1])), vec![2].into())].into();
    let request = wire::LoadProgramDbRequest { input_program_db: false_program, persistent: true };
    assert_eq!(client.load_program_db(request).await.unwrap_err().code(), Code::Cancelled);

    // What was not to last does not, though a root that it belongs to is asked for.
    let leaf_root = digest(client.set(set_request(Digest::ZERO, 1, "1")).await.unwrap().into_inner().new_root);
    let input_program_db = [(hex(linear_hash(&[9])), vec![9].into())].into();
    client.load_program_db(wire::LoadProgramDbRequest { input_program_db, persistent: false }).await.unwrap();
    let request = wire::GetProgramRequest { key: fea(linear_hash(&[9])), ..Default::default() };
    assert_eq!(code(client.get_program(request.clone()).await.unwrap().into_inner().result), SUCCESS);
    assert!(server.shutdown().await);
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    assert_eq!(get(&mut client, leaf_root, raw(1)).await, (U256::from(1), SUCCESS));
    assert_eq!(code(client.get_program(request).await.unwrap().into_inner().result), NOT_FOUND);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_along_waits_for_the_next_stored_set() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let client = hashdb(&server).await;
    let waiting = {
        let mut client = client.clone();
        tokio::spawn(async move { client.get_flush_data(wire::GetFlushDataRequest { flush_id: 1 }).await })
    };
    let mut root = Digest::ZERO;
    for key in 1..3 {
        assert!(!waiting.is_finished(), "the first set is known already");
        let mut session = Session::start(client.clone(), root).await;
        session.set(raw(key), U256::from(key)).await;
        session.set_program(linear_hash(&[key as u8]), &[key as u8]).await;
        let (flushed, flush_id) = session.flush().await;
        stored(&mut client.clone(), flush_id).await;
        root = flushed;
    }
    let data = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!((data.stored_flush_id, code(data.result)), (2, SUCCESS));
    assert!(data.nodes.contains_key(hex(root).trim_start_matches("0x")));
    let name = |hash: Digest| hex(hash).trim_start_matches("0x").to_owned();
    assert_eq!(data.program, [(name(linear_hash(&[2])), "02".to_owned())].into());
    let limbs: String = root.0.iter().map(|limb| format!("{limb:016x}")).collect();
    assert_eq!(data.nodes_state_root, limbs + &"0".repeat(128));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_keeps_writes_in_memory_and_has_no_flush_ids() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.database.read_only = true;
    let server = Server::new(config).start().await.unwrap();
    let mut session = Session::start(hashdb(&server).await, Digest::ZERO).await;
    session.set(raw(1), U256::from(11)).await;
    let (root, flush_id) = session.flush().await;
    let mut client = hashdb(&server).await;
    assert_eq!(get(&mut client, root, raw(1)).await, (U256::from(11), SUCCESS));
    let status = client.get_flush_status(()).await.unwrap().into_inner();
    assert_eq!((flush_id, status.last_flush_id, status.stored_flush_id), (0, 0, 0));
    assert_eq!(status.prover_id, server.prover_id());
    assert!(server.shutdown().await);
    let server = start(folder.path()).await;
    assert_eq!(get(&mut hashdb(&server).await, root, raw(1)).await, (U256::ZERO, NOT_FOUND));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_all_that_is_flushed_counts_as_stored() {
    let mut config = config(std::path::Path::new("unused"));
    config.store.kind = StoreKind::Memory;
    let server = Server::new(config).start().await.unwrap();
    let mut session = Session::start(hashdb(&server).await, Digest::ZERO).await;
    session.set(raw(1), U256::from(11)).await;
    let (root, flush_id) = session.flush().await;
    let mut client = hashdb(&server).await;
    let status = client.get_flush_status(()).await.unwrap().into_inner();
    assert_eq!((flush_id, status.last_flush_id, status.stored_flush_id), (1, 1, 1));
    let latest = client.get_latest_state_root(()).await.unwrap().into_inner();
    assert_eq!((digest(latest.latest_root), code(latest.result)), (root, SUCCESS));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_at_an_unknown_root_is_read_as_nothing_with_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let request = wire::ReadTreeRequest { state_root: fea(raw(77)), keys: vec![fea(raw(1)).unwrap()] };
    let answer = client.read_tree(request).await.unwrap().into_inner();
    assert_eq!((answer.key_value.len(), answer.hash_value.len(), code(answer.result)), (0, 0, NOT_FOUND));
    let request = wire::ReadTreeRequest { state_root: None, keys: vec![fea(raw(1)).unwrap(); 1 << 17] };
    assert_eq!(client.read_tree(request).await.unwrap_err().code(), Code::Cancelled);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_names_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = ServerReflectionClient::new(connect(server.hashdb_addr()).await);
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().expect("an answer").message_response;
    let Some(MessageResponse::ListServicesResponse(services)) = answer else { panic!("{answer:?}") };
    assert!(services.service.iter().any(|service| service.name == "hashdb.v1.HashDBService"), "{services:?}");
    server.shutdown().await;
}
