//! Small trees whose roots are known, and everything that is no witness.

use alloy_primitives::{address, b256, hex};

use super::*;
use zkevm_tree::LeafKind::Balance;
use zkevm_tree::{account_key, bit};

const NODES_MAX: usize = 1 << 16;
const A0: Address = address!("617b3a3528F9cDd6630fd3301B9c8911F7Bf063D");
const A1: Address = address!("4d5Cf5032B2a844602278b01199ED191A86c93ff");
/// A balance of 1000, 100 and 200 ether, as a CBOR byte string.
const ETHER_1000: &str = "493635c9adc5dea00000";
const ETHER_100: &str = "49056bc75e2d63100000";
const ETHER_200: &str = "490ad78ebc5ac6200000";

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(char::is_whitespace, "")).unwrap()
}

fn read(text: &str) -> Result<Witness, WitnessError> {
    read_witness(&bytes(text), NODES_MAX)
}

fn balance(address: Address, value: &str) -> String {
    format!("07 00 54{} {value}", hex::encode(address))
}

/// Both balances of batch §16.3, each at the place its key leads to; `left` and `right` stand below the fork.
fn two_balances(first: &str, second: &str) -> String {
    let keys = [account_key(A0, Balance), account_key(A1, Balance)];
    let fork = first_difference(&keys[0], &keys[1]).unwrap();
    let one_way = |level| if bit(&keys[0], level) == 0 { "02 01 " } else { "02 02 " };
    let way: String = (0..fork).map(one_way).collect();
    let (left, right) = if bit(&keys[0], fork) == 0 { (first, second) } else { (second, first) };
    format!("01 {way} 02 03 {left} {right}")
}

#[test]
fn one_leaf_has_the_root_of_the_specification() {
    let witness = read(&format!("01 {}", balance(A0, ETHER_1000))).unwrap();
    // state-tree §9
    let root = b256!("3ca39a7b5b419d1c50c89a8d15d1234f6cbc8baadb465efb609832bbc19f9026");
    assert_eq!(witness.root.to_b256(), root);
    let key = account_key(A0, Balance);
    let leaf = &witness.nodes[&witness.root];
    assert_eq!((&leaf[..4], &leaf[8..]), (&key.0[..], &[1, 0, 0, 0][..]), "the whole key remains");
    let value = Digest(leaf[4..8].try_into().unwrap());
    assert_eq!(witness.nodes[&value][..3], [0xdea0_0000, 0x35c9_adc5, 0x36]);
    assert_eq!((witness.nodes.len(), witness.programs.len()), (2, 0));
}

#[test]
fn two_leaves_have_the_root_of_the_specification_also_when_one_is_pruned() {
    let leaves = [balance(A0, ETHER_100), balance(A1, ETHER_200)];
    let whole = read(&two_balances(&leaves[0], &leaves[1])).unwrap();
    // batch §16.3
    let root = b256!("4a9bfcb163ec91c5beb22e6aca41592433092c8c7821b01d37fd0de483f9265d");
    assert_eq!(whole.root.to_b256(), root);

    let second = whole.nodes.iter().find(|(_, node)| node[8] == 1 && whole.nodes[&half(node)][0] == 0xc620_0000_u64);
    let hash = *second.unwrap().0;
    let pruned = read(&two_balances(&leaves[0], &format!("03 {}", hex::encode(hash.to_b256())))).unwrap();
    assert_eq!(pruned.root, whole.root);
    assert_eq!(pruned.nodes.len(), whole.nodes.len() - 2, "neither the leaf nor its value");
    assert!(pruned.nodes.iter().all(|(hash, node)| whole.nodes.get(hash) == Some(node)));
    assert!(!pruned.nodes.contains_key(&hash));

    let nothing = read(&format!("01 03 {}", hex::encode(root))).unwrap();
    assert_eq!((nothing.root, nothing.nodes.len()), (whole.root, 0));
}

fn half(leaf: &[u64]) -> Digest {
    Digest(leaf[4..8].try_into().unwrap())
}

#[test]
fn programs_are_kept_under_their_hash() {
    // state-tree §6: the hash of 1234.
    let hash = b256!("9257c9a31308a7cb046aba1a95679dd7e3ad695b6900e84a6470b401b1ea416e");
    let leaf = format!("07 02 54{} 5820{}", hex::encode(A0), hex::encode(hash));
    let witness = read(&format!("01 04 421234 {leaf}")).unwrap();
    assert_eq!(witness.programs, HashMap::from([(hash.into(), Bytes::from_static(&[0x12, 0x34]))]));
    assert_eq!(read(&format!("01 {leaf}")).unwrap().root, witness.root, "a program is no node");
}

#[test]
fn numbers_may_be_cbor_integers() {
    // Of an integer only the low five bits of the first byte count.
    let spellings = ["4111", "420011", "11", "f1"];
    let roots = spellings.map(|value| read(&format!("01 {}", balance(A0, value))).unwrap().root);
    assert_eq!(roots, [roots[0]; 4]);
}

#[test]
fn a_program_may_stand_before_any_node() {
    let pruned = "03".to_owned() + &hex::encode(B256::with_last_byte(1));
    let leaf = balance(A0, ETHER_1000);
    for node in [&pruned, &leaf, &format!("02 01 {pruned}")] {
        let (with, without) = (read(&format!("01 04 42 6001 {node}")), read(&format!("01 {node}")));
        let with = with.unwrap();
        assert_eq!((with.root, with.programs.len()), (without.unwrap().root, 1), "{node}");
    }
}

#[test]
fn bytes_behind_the_tree_do_not_count() {
    let text = format!("01 {}", balance(A0, ETHER_1000));
    assert_eq!(read(&format!("{text} bb 00")).unwrap().root, read(&text).unwrap().root);
}

#[test]
fn what_is_no_witness_is_refused() {
    use WitnessError::*;
    let address = hex::encode(A0);
    let leaf = balance(A0, "01");
    let key = account_key(A0, Balance);
    let wrong_side = if bit(&key, 0) == 0 { "02" } else { "01" };
    for (text, error) in [
        ("", Truncated),
        ("00", Version(0)),
        ("02 03", Version(2)),
        ("01", Truncated),
        ("01 00", Opcode(0)),
        ("01 bb", Opcode(0xbb)),
        ("01 02", Cbor),
        ("01 02 18", Mask(24)),
        ("01 02 18 01", Mask(24)),
        ("01 02 41 03", Cbor),
        ("01 02 00", Mask(0)),
        ("01 02 04", Mask(4)),
        ("01 02 1b 0000000100000003", Mask(27)),
        ("01 02 01", Truncated),
        ("01 03 00", Truncated),
        (&format!("01 03 {}", "ff".repeat(32)), Hash),
        ("01 04", Cbor),
        ("01 04 01", Cbor),
        ("01 04 40", EmptyProgram),
        ("01 04 41 00", Truncated),
        ("01 04 41 00 04 41 00", TwoPrograms),
        ("01 07", Truncated),
        ("01 07 05", LeafKind(5)),
        ("01 07 00", Cbor),
        (&format!("01 07 00 54{address}"), Cbor),
        (&format!("01 07 03 54{address} 01"), Cbor),
        (&format!("01 07 00 54{address} 63616263"), Cbor),
        (&format!("01 07 00 5821{} 01", "00".repeat(33)), Cbor),
        (&format!("01 07 00 5501{address} 01"), Address),
        (&format!("01 02 {wrong_side} {leaf}"), Misplaced),
        (&format!("01 {} {leaf}", "02 01".repeat(256)), TooDeep),
    ] {
        assert_eq!(read(text).map(|_| ()), Err(error), "{text}");
    }
}

#[test]
fn the_deepest_place_is_level_255() {
    let pruned = format!("03 {}", hex::encode(B256::with_last_byte(1)));
    let witness = read(&format!("01 {} {pruned}", "02 02".repeat(255))).unwrap();
    assert_eq!(witness.nodes.len(), 255);
    assert_eq!(read(&format!("01 {} {pruned}", "02 02".repeat(256))).map(|_| ()), Err(WitnessError::TooDeep));
}

#[test]
fn the_number_of_nodes_has_a_bound() {
    let leaf = bytes(&format!("01 {}", balance(A0, "01")));
    assert!(read_witness(&leaf, 2).is_ok());
    assert_eq!(read_witness(&leaf, 1).map(|_| ()), Err(WitnessError::TooManyNodes(1)));
    let branch = bytes(&format!("01 02 01 03 {}", "00".repeat(32)));
    assert_eq!(read_witness(&branch, 0).map(|_| ()), Err(WitnessError::TooManyNodes(0)));
}

/// The balances of the specification, and a contract whose program comes with it.
fn witnesses_of_one_state() -> Vec<String> {
    let leaves = [balance(A0, ETHER_100), balance(A1, ETHER_200)];
    let code = format!("04 43 600000 {}", balance(A1, ETHER_200));
    vec![
        two_balances(&leaves[0], &leaves[1]),
        two_balances(&leaves[0], &code),
        two_balances(&balance(A0, ETHER_1000), &leaves[1]),
        two_balances(&leaves[1], &leaves[0]),
        format!("01 {}", leaves[0]),
        two_balances(&leaves[0], &balance(A1, "40")),
    ]
}

#[test]
fn a_memo_changes_nothing() {
    // Of no room, of room for one or two of each, and for all.
    for bytes_max in [0, 1 << 10, 1 << 20] {
        let memo = WitnessMemo::new(bytes_max);
        for text in witnesses_of_one_state().iter().cycle().take(24) {
            let known = read_witness_while(&bytes(text), NODES_MAX, &memo, &mut |_| true);
            match (known, read(text)) {
                (Ok(known), Ok(fresh)) => {
                    assert_eq!((known.root, known.programs), (fresh.root, fresh.programs), "{text}");
                    assert_eq!(known.nodes, fresh.nodes, "{text}");
                }
                (known, fresh) => assert_eq!(known.err(), fresh.err(), "{text}"),
            }
        }
    }
}

#[test]
fn what_is_remembered_is_not_hashed_again() {
    let memo = WitnessMemo::new(1 << 20);
    let text = bytes(&witnesses_of_one_state()[1]);
    let mut looks = [0; 2];
    for looks in &mut looks {
        read_witness_while(&text, NODES_MAX, &memo, &mut |_| {
            *looks += 1;
            true
        })
        .unwrap();
    }
    assert!(looks[1] < looks[0], "{looks:?}");
    assert!(format!("{memo:?}").contains("(2, "), "two leaves: {memo:?}");
}
