//! Both kinds of streams, byte by byte, and everything that is no stream of one batch.

use alloy_primitives::hex;

use super::*;

/// Transaction of batch §16.1, signed for chain 1000: as Ethereum has it, and as a batch has it.
const SIGNED: &str = "f86f80843b9aca00830186a0944d5cf5032b2a844602278b01199ed191a86c93ff8901314fb3706298000080\
    8207f3a0f9ea8e90ae323e360a22bd0b1a972d15cb33df6ccbfbada4a0d49792d1164ea5\
    a06029d84d5093a7186fb5bf2f1b7258d57e9c09ac89c4cb8eb44a3c961c4dd89b";
const IN_BATCH: &str = "ef80843b9aca00830186a0944d5cf5032b2a844602278b01199ed191a86c93ff8901314fb37062980000808203e88080\
    f9ea8e90ae323e360a22bd0b1a972d15cb33df6ccbfbada4a0d49792d1164ea56029d84d5093a7186fb5bf2f1b7258d57e9c09ac89c4cb8eb44a3c961c4dd89b1b";

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(char::is_whitespace, "")).unwrap()
}

fn entry(kind: u32, payload: &str) -> Vec<u8> {
    let payload = bytes(payload);
    let mut entry = vec![DATA];
    entry.extend((17 + payload.len() as u32).to_be_bytes());
    entry.extend(kind.to_be_bytes());
    entry.extend([0; 8]);
    entry.extend(payload);
    entry
}

/// Fork 9, chain 1000, L1 info index 5 of global exit root 0x22… and block hash 0x11….
fn start(batch: u64, block: u64, delta: u32) -> Vec<u8> {
    let (hash, root, coinbase) = ("11".repeat(32), "22".repeat(32), "00".repeat(20));
    entry(
        1,
        &format!("{batch:016x} {block:016x} {:016x} {delta:08x} 00000005 {hash} {root} {coinbase} 0009 000003e8", 1000),
    )
}

fn transaction(percentage: u8) -> Vec<u8> {
    let signed = bytes(SIGNED);
    entry(2, &format!("{percentage:02x} 01 {} {:08x} {SIGNED}", "00".repeat(32), signed.len()))
}

fn end(block: u64) -> Vec<u8> {
    entry(3, &format!("{block:016x} {}", "00".repeat(64)))
}

fn bookmark() -> Vec<u8> {
    entry(BOOKMARK, "00 0000000000000001")
}

fn read(entries: &[Vec<u8>]) -> Result<StreamBatch, StreamError> {
    read_stream(&entries.concat())
}

fn assert_is_the_batch(batch: &StreamBatch) {
    assert_eq!((batch.number, batch.fork_id, batch.chain_id), (7, 9, 1000));
    let data = format!("0b 00000003 00000005 {IN_BATCH} ff 0b 00000004 00000005 {IN_BATCH} 80");
    assert_eq!(hex::encode(&batch.batch_l2_data), hex::encode(bytes(&data)));
    let leaf = &batch.l1_info_tree_data[&5];
    assert_eq!(leaf.block_hash_l1, B256::repeat_byte(0x11));
    assert_eq!(leaf.global_exit_root, B256::repeat_byte(0x22));
    assert_eq!(batch.l1_info_tree_data.len(), 1);
}

#[test]
fn entries_with_fixed_places_become_a_batch() {
    let mut padding = entry(0, "0000");
    padding[0] = PADDING;
    let batch = read(&[
        bookmark(),
        start(7, 41, 3),
        padding,
        transaction(0xff),
        end(41),
        bookmark(),
        start(7, 42, 4),
        transaction(0x80),
        end(42),
    ]);
    assert_is_the_batch(&batch.unwrap());
}

/// The batch as cdk-erigon writes it; fields: number ‖ type ‖ fork ‖ chain, and so on.
fn protobuf() -> Vec<Vec<u8>> {
    let l1 = format!("3220{} 3805 5220{}", "11".repeat(32), "22".repeat(32));
    // The time is 1000, the minimum 900, the block has a hash and a coinbase, which do not count.
    let block = |number: u8, delta: u8| {
        let (hash, coinbase) = ("33".repeat(32), "44".repeat(20));
        entry(2, &format!("08{number:02x} 1007 18e807 20{delta:02x} 288407 {l1} 4220{hash} 4a20{hash} 5a14{coinbase}"))
    };
    let signed = bytes(SIGNED).len();
    let tx =
        |block: u8, percentage: &str| entry(3, &format!("08{block:02x} 1801 22{signed:02x}{SIGNED} 28{percentage}"));
    vec![
        bookmark(),
        entry(1, "0807 1001 1809 20e807"),
        bookmark(),
        block(41, 3),
        tx(41, "ff01"),
        entry(6, "0829"),
        bookmark(),
        block(42, 4),
        tx(42, "8001"),
        entry(6, "082a"),
        entry(4, "0807"),
        entry(5, "0807 2809 30e807"),
    ]
}

#[test]
fn protobuf_entries_become_a_batch() {
    let batch = read(&protobuf()).unwrap();
    assert_is_the_batch(&batch);
    assert_eq!(batch.l1_info_tree_data[&5].min_timestamp, 900);
    // Older streams have no ends of blocks.
    let mut older = protobuf();
    older.retain(|entry| entry[8] != 6);
    assert_is_the_batch(&read(&older).unwrap());
}

#[test]
fn what_is_no_stream_of_one_batch_is_refused() {
    use StreamError::*;
    let mut unknown_packet = start(7, 1, 0);
    unknown_packet[0] = 1;
    let mut short_length = start(7, 1, 0);
    short_length[1..5].copy_from_slice(&16_u32.to_be_bytes());
    let mut other_chain = start(7, 2, 0);
    *other_chain.last_mut().unwrap() = 0xe9;
    let start_of = |number| entry(1, &format!("08{number:02x} 1809 20e807"));
    let block = |batch, number| entry(2, &format!("08{number:02x} 10{batch:02x} 420100 4a0100"));
    let block_and = |more: &str| entry(2, &format!("0801 1007 420100 4a0100 {more}"));
    let long = |tag: &str, length: u8| format!("{tag} {length:02x} {}", "00".repeat(length.into()));
    for (entries, error) in [
        (vec![], Order("no block")),
        (vec![bookmark()], Order("no block")),
        (vec![vec![DATA]], Length),
        (vec![start(7, 1, 0)[..20].to_vec()], Length),
        (vec![short_length], Length),
        (vec![unknown_packet], Packet(1)),
        (vec![start(7, 1, 0), entry(4, "")], EntryType(4)),
        (vec![start(7, 1, 0)], Order("a block without an end")),
        (vec![end(1)], Order("an end of a block that is not open")),
        (vec![transaction(0)], Order("a transaction outside a block")),
        (vec![start(7, 1, 0), end(2)], Order("an end of a block that is not open")),
        (vec![start(7, 1, 0), end(1), end(1)], Order("an end of a block that is not open")),
        (vec![start(7, 1, 0), start(7, 2, 0)], Order("a block in the wrong place")),
        (vec![start(7, 1, 0), end(1), transaction(0)], Order("a transaction outside a block")),
        (vec![start(7, 0, 0)], Order("a block number that does not follow")),
        (vec![start(7, 1, 0), end(1), start(7, 3, 0)], Order("a block number that does not follow")),
        (vec![start(7, 1, 0), end(1), start(8, 2, 0)], Order("more than one batch, fork or chain")),
        (vec![start(7, 1, 0), end(1), other_chain], Order("more than one batch, fork or chain")),
        (vec![start(7, 1, 0), entry(2, "00")], Payload(2)),
        (vec![start(7, 1, 0), entry(3, "00")], Payload(3)),
        (vec![start(7, 1, 0), entry(1, "00")], Payload(1)),
        (
            vec![start(7, 1, 0), entry(2, &format!("ff01{}00000001c0", "00".repeat(32)))],
            Transaction("not a list of nine strings"),
        ),
        (vec![block(7, 1)], Order("a block in the wrong place")),
        (vec![start_of(7)], Order("no block")),
        (vec![start_of(7), start_of(7)], Order("more than one batch")),
        (vec![start_of(7), block(8, 1)], Order("a block of another batch")),
        (vec![start_of(7), entry(2, "0801 1007 420100")], Order("a last block without hash or state root")),
        (vec![start_of(7), entry(2, "0801 1007 4a0100")], Order("a last block without hash or state root")),
        (vec![start_of(7), entry(2, "0801 1007"), entry(3, "0801")], Order("a transaction outside a block")),
        (vec![start_of(7), block(7, 1), block(7, 3)], Order("a block number that does not follow")),
        (vec![start_of(7), block(7, 1), entry(4, "0808")], Order("an end of another batch")),
        (vec![entry(4, "0807")], Order("an end of another batch")),
        (vec![start_of(7), block(7, 1), entry(3, "0802")], Order("a transaction of another block")),
        (vec![entry(1, "1809 20e807")], Order("a batch without number or fork")),
        (vec![entry(1, "0807 20e807")], Order("a batch without number or fork")),
        (vec![start_of(7), block_and(&long("32", 33))], Payload(2)),
        (vec![start_of(7), block_and(&long("42", 33))], Payload(2)),
        (vec![start_of(7), block_and(&long("4a", 33))], Payload(2)),
        (vec![start_of(7), block_and(&long("52", 33))], Payload(2)),
        (vec![start_of(7), block_and(&long("5a", 21))], Payload(2)),
        (vec![start_of(7), block_and(&long("6a", 33))], Payload(2)),
        (vec![start_of(7), block(7, 1), entry(3, &format!("0801 {}", long("32", 33)))], Payload(3)),
        (vec![start_of(7), block(7, 1), entry(4, &format!("0807 {}", long("12", 33)))], Payload(4)),
        (vec![start_of(7), block(7, 1), entry(4, &format!("0807 {}", long("1a", 33)))], Payload(4)),
        (vec![start_of(7), block(7, 1), entry(5, &long("22", 21))], Payload(5)),
        (
            vec![start_of(7), block(7, 1), entry(5, "0807 2808 30e807")],
            Order("a global exit root of another batch, fork or chain"),
        ),
        (
            vec![start_of(7), block(7, 1), entry(5, "0807 2809 30e807 3a0100")],
            Order("a global exit root with another root than the batch"),
        ),
        (vec![start_of(7), block(7, 1), entry(6, "08")], Payload(6)),
        (vec![start_of(7), entry(2, "08")], Payload(2)),
        (vec![start_of(7), entry(7, "")], EntryType(7)),
    ] {
        let whole = entries.iter().map(hex::encode).collect::<Vec<_>>().join(" ");
        assert_eq!(read(&entries).map(|_| ()), Err(error), "{whole}");
    }
}

/// The example of later-forks §8.6.
#[test]
fn the_example_of_the_specification_reads_as_it_says() {
    let (zeros, root) = ("00".repeat(32), "f183d38e6464599399550b503e7d34dbfcb7e78ec3e310760c94ea822778b4fd");
    let signature = "a01cee7e01dc62f69a12c3510c6d64de04ee6346d84b6a017f3e786c7d87f963e7a05d8cc91fa983cd6d9cf55fff80d73bd26cd333b0f098acc1e58edb1fd484ad73";
    let stream = format!(
        "0200000015000000b0000000000000000008011001
         020000001a00000001000000000000000008011001180c20e807
         0200000015000000b0000000000000000008021001
         02000000bf0000000200000000000000000801100118efde9a9f0720efde9a9f073220{zeros}4220{root}4a20{root}5220{zeros}5a14617b3a3528f9cdd6630fd3301b9c8911f7bf063d
         02000000ac000000030000000000000000080118012270f86e80843b9aca00830186a0944d5cf5032b2a844602278b01199ed191a86c93ff88016345785d8a0000808207f3{signature}28ff013220{zeros}
         02000000130000000600000000000000000801
         020000005700000004000000000000000008011220{zeros}1a20{root}"
    );
    let batch = read_stream(&bytes(&stream)).unwrap();
    assert_eq!((batch.number, batch.fork_id, batch.chain_id), (1, 12, 1000));
    let data = "0b73e6af6f00000000ee80843b9aca00830186a0944d5cf5032b2a844602278b01199ed191a86c93ff88016345785d8a0000808203e88080
        1cee7e01dc62f69a12c3510c6d64de04ee6346d84b6a017f3e786c7d87f963e75d8cc91fa983cd6d9cf55fff80d73bd26cd333b0f098acc1e58edb1fd484ad731bff";
    assert_eq!(batch.batch_l2_data, bytes(data));
}

#[test]
fn blocks_take_transactions_until_the_next_one_and_the_last_l1_data_counts() {
    let mut entries = protobuf();
    let transaction = entries[8].clone();
    // Behind the end of its block and of the batch; its percentage has more than 8 bits.
    entries.push(transaction);
    let signed = bytes(SIGNED).len();
    entries.push(entry(3, &format!("082a 22{signed:02x}{SIGNED} 288002")));
    let batch = read(&entries).unwrap();
    let data = hex::encode(&batch.batch_l2_data);
    let in_batch = IN_BATCH.replace(char::is_whitespace, "");
    assert!(data.ends_with(&format!("{in_batch}80{in_batch}80{in_batch}00")), "{data}");
    let l1 = |byte: &str, timestamp: &str| format!("3220{} 3805 28{timestamp}", byte.repeat(32));
    let block = |number: u8, l1: &str| entry(2, &format!("08{number:02x} 1007 420100 4a0100 {l1}"));
    let blocks = [entry(1, "0807 1809 20e807"), block(1, &l1("11", "01")), block(2, &l1("22", "8280808010"))];
    let leaf = &read(&blocks).unwrap().l1_info_tree_data[&5];
    assert_eq!((leaf.block_hash_l1, leaf.min_timestamp), (B256::repeat_byte(0x22), 2));
    // The same root as the batch's end says, or none where the end says none.
    let ger = |root: &str| entry(5, &format!("0807 2809 30e807 {root}"));
    let end = entry(4, "0807 1a0105");
    assert!(read(&[&blocks[..], &[end.clone(), ger("3a020005")]].concat()).is_ok());
    assert!(read(&[&blocks[..], &[ger(""), end]].concat()).is_ok());
}

#[test]
fn of_a_batch_too_long_only_so_much_is_kept_that_it_shows() {
    let mut entries: Vec<_> =
        (1..=20_000).flat_map(|block| [start(7, block, 1), transaction(0xff), end(block)]).collect();
    let batch = read(&entries).unwrap();
    let longest = BATCH_L2_DATA_MAX_BYTES + 256;
    assert!(
        (BATCH_L2_DATA_MAX_BYTES + 1..longest).contains(&batch.batch_l2_data.len()),
        "{}",
        batch.batch_l2_data.len()
    );
    entries.pop();
    assert_eq!(read(&entries).map(|_| ()), Err(StreamError::Order("a block without an end")), "all of it is checked");
}
