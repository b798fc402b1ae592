use alloy_primitives::b256;
use proptest::prelude::*;

use super::*;
use crate::goldilocks::GOLDILOCKS_PRIME as P;

/// Known answers P1 to P7 (state-tree §2).
fn known_answers() -> [([u64; 12], Digest); 7] {
    [
        ([0; 12], b256!("c71603f33a1144ca7953db0ab48808f4c4055e3364a246c33c18a9786cb0b359").into()),
        (
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
            b256!("613a4f81e81231d2d40285597c6a882553666633020aaa47d64e1e3efc5b8e9e").into(),
        ),
        ([P - 1; 12], b256!("95803a74f4530e82cf55a13d33c1c953d95af71847d05c09be0085cfc57a8357").into()),
        (
            [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89],
            b256!("8ec2b67afb6b87ed8129db5ec75c32263d561b5ef1bc8b583095570037f4605d").into(),
        ),
        ([1; 12], b256!("a89f8f921605bbc809783d643dd45102b94b3adc599d5630e3fd1ad5743c4d77").into()),
        (
            [1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 0, 0],
            b256!("c969911a122a4907aeea53beb10eedde32851eb04a83773839c5c281d7bf0df4").into(),
        ),
        (
            [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            b256!("d678e10b815246dab947b1ce626a929fa440cca74f8b9a897554d7ffa54114fd").into(),
        ),
    ]
}

fn textbook_hash(state: &[u64; 12]) -> Digest {
    let out = textbook::permute(state);
    Digest([out[0], out[1], out[2], out[3]])
}

#[test]
fn known_states_hash_to_known_answers() {
    for (state, expected) in known_answers() {
        assert_eq!(textbook_hash(&state), expected, "textbook form of {state:?}");
        assert_eq!(hash_node(&state), expected, "{state:?}");
    }
}

#[test]
fn every_kernel_gives_the_known_answers_in_every_lane() {
    let (states, expected): (Vec<_>, Vec<_>) = known_answers().into_iter().cycle().take(7 * 16).unzip();
    for kernel in Kernel::available() {
        let mut out = vec![Digest::ZERO; states.len()];
        assert!(kernel.hash_many(&states, &mut out), "{kernel:?}");
        assert_eq!(out, expected, "{kernel:?}");
    }
}

/// What the first S-boxes meet is chosen here: products below 2^33, where the vector kernels leave a carry or a borrow out and
/// have to notice.
#[test]
fn small_products_are_hashed_right() {
    let small = [0, 1, 2, 3, 0xffff, 0x1_0000, 0x1_0001, 0x1_6a09, 0x1_6a0a, 0xffff_ffff];
    let states: Vec<[u64; 12]> = (0..small.len() * 12)
        .map(|case| {
            let mut state = [case as u64; 12];
            let element = case % 12;
            state[element] = small[case / 12] + (P - constants::ROUND_CONSTANTS[0][element]);
            state
        })
        .collect();
    let expected: Vec<Digest> = states.iter().map(textbook_hash).collect();
    for kernel in Kernel::available() {
        let mut out = vec![Digest::ZERO; states.len()];
        assert!(kernel.hash_many(&states, &mut out), "{kernel:?}");
        assert_eq!(out, expected, "{kernel:?}");
    }
}

#[test]
fn the_whole_state_after_zeros_is_known() {
    let expected = [
        0x3c18a9786cb0b359,
        0xc4055e3364a246c3,
        0x7953db0ab48808f4,
        0xc71603f33a1144ca,
        0xd7709673896996dc,
        0x46a84e87642f44ed,
        0xd032648251ee0b3c,
        0x1c687363b207df62,
        0xdf8565563e8045fe,
        0x40f5b37ff4254dae,
        0xd070f637b431067c,
        0x1792b1c4342109d7,
    ];
    assert_eq!(textbook::permute(&[0; 12]), expected);
    let mut states = [[0u64; 12]];
    permutation::permute::<u64, 1, 4>(&mut states);
    assert_eq!(states[0].map(crate::goldilocks::canonical), expected);
}

#[test]
fn bytecodes_hash_to_known_answers() {
    let cases: [(Vec<u8>, Digest); 9] = [
        (vec![], b256!("3baed9289a384f6c1c05d92b56c801c2d2e2a7050d6c16538b814fa186835c79").into()),
        (vec![0], b256!("ce9ee230357c9f1c7389a7faa92f2777ff84ae9b5186da6dd21f142dfe1851bb").into()),
        (vec![0x12, 0x34], b256!("9257c9a31308a7cb046aba1a95679dd7e3ad695b6900e84a6470b401b1ea416e").into()),
        (vec![0xde, 0xad], b256!("2549d1fb0dc984e3098f235473637bd9e40aab1692c87e0afaf58720d2fbb8cd").into()),
        (vec![0xaa; 55], b256!("6efea19798dcd04e19f0ad0396df6bbb01d49a194a8f4a2a0beba44c5f4478d9").into()),
        (vec![0xaa; 56], b256!("c271beeb27ea3943df6ac6537c5f62cd8861bbae6c8332add6f443f46c69a0e1").into()),
        (vec![0xaa; 57], b256!("837c2fdd68eb29077ca9173ea144e8354d02a0e0f9cb7d7b16cd172be087232e").into()),
        (vec![0xaa; 111], b256!("1f9856f2bd77bed6d2175e63daaa92a02d38787d02c448a16529fc5b6f2384db").into()),
        (vec![0xaa; 112], b256!("5e0c4bcb8f371cc3c859f32dd00bba81518c648f3f7a4856780fed2d0a786a4d").into()),
    ];
    for (code, expected) in &cases {
        assert_eq!(linear_hash(code), *expected, "{} bytes: {}", code.len(), hex::encode(code));
    }
    let messages: Vec<&[u8]> = cases.iter().map(|(code, _)| code.as_slice()).collect();
    let expected: Vec<Digest> = cases.iter().map(|(_, digest)| *digest).collect();
    assert_eq!(linear_hash_many(&messages), expected);
    assert_eq!(linear_hash_many(&[]), vec![]);
}

#[test]
fn elements_of_a_chunk_are_seven_bytes_little_endian() {
    let elements = chunk_elements(&[0x12, 0x34], 0);
    assert_eq!(elements, [0x0001_3412, 0, 0, 0, 0, 0, 0, 0x80_0000_0000_0000]);
}

/// Elements near the places where reductions change: 0, 2^32, p, 2^64.
fn element() -> impl Strategy<Value = u64> {
    prop_oneof![4 => any::<u64>(), 1 => 0..4u64, 1 => (P - 2)..=u64::MAX, 1 => 0xffff_fffe..0x1_0000_0002u64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn many_hashes_equal_the_plain_definition(
        states in prop::collection::vec(prop::array::uniform12(element()), 0..40)
    ) {
        let expected: Vec<Digest> = states.iter().map(textbook_hash).collect();
        for kernel in Kernel::available() {
            let mut out = vec![Digest::ZERO; states.len()];
            prop_assert!(kernel.hash_many(&states, &mut out));
            prop_assert_eq!(&out, &expected, "{:?}", kernel);
        }
        let mut out = vec![Digest::ZERO; states.len()];
        hash_many(&states, &mut out);
        prop_assert_eq!(&out, &expected);
        let one_by_one: Vec<Digest> = states.iter().map(hash_node).collect();
        prop_assert_eq!(&one_by_one, &expected);
    }

    #[test]
    fn many_messages_hash_as_each_alone(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let alone: Vec<Digest> = slices.iter().map(|message| linear_hash(message)).collect();
        prop_assert_eq!(linear_hash_many(&slices), alone);
    }
}
