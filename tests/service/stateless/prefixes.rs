//! Batches that are sent block by block, as cdk-erigon does.

use std::collections::HashSet;

use super::*;

/// The requests with 1, 2, … blocks of one batch, each with the witness of what it reads.
pub(super) fn growing(fork: u64, blocks: usize) -> (Source, Vec<(BatchInput, HashSet<Digest>)>) {
    let workload = Arc::new(Workload::new(ForkId::new(fork).unwrap(), 4).unwrap());
    let source = Source::new(workload.genesis()).unwrap();
    let mut chain = workload.chain(0, source.state.root.to_b256());
    let mut data = Vec::new();
    let batches = (0..blocks).map(|number| {
        let kind = [Kind::Transfers, Kind::TokenTransfers, Kind::Mints][number % 3];
        let mut input = chain.next_batch(kind, 3);
        data.extend_from_slice(&input.batch_l2_data);
        input.batch_l2_data = data.clone().into();
        set_context(&mut input, |context| context.skip_verify_l1_info_root = true);
        let read = reads(&source, &input);
        (input, read)
    });
    let batches = batches.collect();
    (source, batches)
}

async fn counter(server: &RunningServer, name: &str) -> u64 {
    let (_, metrics) = page(server.http_addr(), "/metrics").await;
    let name = format!("zkevm_executor_{name} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn growing_batches_are_answered_as_by_a_fresh_server() {
    for fork in [7, 12, 13] {
        let (source, batches) = growing(fork, 6);
        let (server, mut client) = start().await;
        // Block by block, then some blocks less, and one more again.
        for number in [0, 1, 2, 3, 1, 2, 3, 4, 5, 5] {
            let (input, read) = &batches[number];
            let request = request(input, source.witness(|hash| read.contains(hash)), Payloads::Protobuf);
            let expected = stateless(request.clone()).await;
            assert_eq!(expected.error, ExecutorError::NoError.number());
            let answer = client.process_stateless_batch_v2(request).await.unwrap().into_inner();
            assert_eq!(anonymous(answer), expected, "fork {fork}, {} blocks", number + 1);
        }
        assert_eq!(counter(&server, "prefix_unknown_total").await, 1);
        assert_eq!(counter(&server, "prefix_reused_total").await, 9);
        assert_eq!(counter(&server, "prefix_reused_blocks_total").await, 1 + 2 + 3 + 2 + 3 + 4 + 4 + 5 + 6);
        assert!(counter(&server, "prefix_bytes").await > 0);
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_beginning_still_needs_its_witness() {
    let (source, batches) = growing(12, 3);
    let (server, mut client) = start().await;
    let [.., (_, before), (input, read)] = &batches[..] else { unreachable!() };
    for (input, read) in &batches {
        let request = request(input, source.witness(|hash| read.contains(hash)), Payloads::Protobuf);
        client.process_stateless_batch_v2(request).await.unwrap();
    }
    let root = source.state.root;
    // Nothing at all, the root alone, and all but one node that the first blocks read: a value would come with its leaf.
    let left_out = Digest(*source.state.nodes[&root].first_chunk().unwrap());
    assert!(before.contains(&left_out));
    let witnesses = [
        source.witness(|_| false),
        source.witness(|hash| *hash == root),
        source.witness(|hash| read.contains(hash) && *hash != left_out),
    ];
    for witness in witnesses {
        let request = request(input, witness, Payloads::Protobuf);
        let expected = stateless(request.clone()).await;
        let answer = client.process_stateless_batch_v2(request).await.unwrap().into_inner();
        assert_eq!(anonymous(answer), expected);
    }
    assert_eq!(counter(&server, "prefix_reused_total").await, 2);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_remembered_where_the_setting_says_so() {
    let (source, batches) = growing(12, 2);
    let mut config = config();
    config.executor.prefix_cache_bytes_max = 0;
    config.stateless.witness_memo_bytes_max = 0;
    let (server, mut client) = start_with(config).await;
    for (input, read) in &batches {
        let request = request(input, source.witness(|hash| read.contains(hash)), Payloads::Protobuf);
        let answer = client.process_stateless_batch_v2(request.clone()).await.unwrap().into_inner();
        assert_eq!(anonymous(answer), stateless(request).await);
    }
    for name in ["prefix_unknown_total", "prefix_reused_total", "prefix_bytes", "prefix_bytes_max"] {
        assert_eq!(counter(&server, name).await, 0, "{name}");
    }
    server.shutdown().await;
}

/// `ZKEVM_ENDURANCE=10000` sends so many requests; without it a few hundred.
#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_over_many_requests() {
    let requests: usize = std::env::var("ZKEVM_ENDURANCE").map_or(200, |count| count.parse().unwrap());
    let process = Process::start(Process::binary().args(["serve", "--threads=1", "--set=executor.prefix_cache_mib=4"]));
    let mut client = connect(process.grpc).await;
    let mut resident_mib = Vec::new();
    let mut sent = 0;
    for client_number in 0.. {
        // Chains of different clients: each batch is another one.
        let workload = Arc::new(Workload::new(ForkId::new(12).unwrap(), 4).unwrap());
        let source = Source::new(workload.genesis()).unwrap();
        let mut chain = workload.chain(client_number, source.state.root.to_b256());
        let witness = source.witness(|_| true);
        let mut data = Vec::new();
        for _ in 0..20 {
            let mut input = chain.next_batch(Kind::TokenTransfers, 18);
            data.extend_from_slice(&input.batch_l2_data);
            input.batch_l2_data = data.clone().into();
            let request = request(&input, witness.clone(), Payloads::Protobuf);
            let answer = client.process_stateless_batch_v2(request).await.unwrap().into_inner();
            assert_eq!(answer.error, ExecutorError::NoError.number());
        }
        sent += 20;
        resident_mib.extend(process.resident_mib());
        if sent >= requests {
            break;
        }
    }
    println!("resident MiB after each 20 requests: {resident_mib:?}");
    // When a quarter is over, caches have their size.
    let (start, end) = (resident_mib.get(resident_mib.len() / 4), resident_mib.last());
    if let (Some(start), Some(end)) = (start, end) {
        assert!(*end <= start + 32, "{resident_mib:?}");
    }
}
