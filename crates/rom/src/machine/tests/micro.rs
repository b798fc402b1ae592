//! The programs of main-state-machine §14.2.

use alloy_primitives::{U256, keccak256, uint};
use zkevm_types::Counters;

use super::{Case, minus_one};
use crate::Register::{A, B, C, D, E, Rr, Sp, Sr};
use crate::fea;

/// 2^256 − 1.
const F: &str = "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffn";
/// 2^255.
const T: &str = "0x8000000000000000000000000000000000000000000000000000000000000000n";
/// Bytes 0 to 31, and 32 to 63.
const FIRST: &str = "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fn";
const SECOND: &str = "0x202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3fn";

fn n(value: u64) -> U256 {
    U256::from(value)
}

#[test]
fn t1_sums_have_coefficients() {
    let ran = Case::new("5 => A,B ; 3*A - 2*B + 7 => C ; -1 => D ; D + 1 => E").run();
    assert_eq!((ran.get(C), ran.low(D), ran.get(E), ran.steps()), (n(12), minus_one(), n(0), 4));
}

#[test]
fn t2_limbs_do_not_carry() {
    let ran = Case::new(&format!("{F} => A ; 2*A => B")).run();
    assert_eq!((ran.low(B), ran.steps()), ([8_589_934_590; 8], 2));
    let ran = Case::new(&format!("{F} => A ; 2*A => B ; $ => C :ADD")).run();
    assert_eq!(ran.outcome.error.number(), 12);
    assert_eq!((ran.outcome.counters, ran.outcome.is_aborted), (Counters::default(), true));
}

#[test]
fn t3_c_rotates() {
    let constant = "0x0000000800000007000000060000000500000004000000030000000200000001n";
    let ran = Case::new(&format!("{constant} => C ; ROTL_C => A ; 2*ROTL_C => B")).run();
    assert_eq!(ran.low(A), [8, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(ran.low(B), [16, 2, 4, 6, 8, 10, 12, 14]);
}

#[test]
fn t4_carry_decides_a_jump() {
    let ran = Case::new(&format!("{F} => A ; 1 => B ; $ => C :ADD, JMPC(over) ; 7 => D ; over: 9 => E")).run();
    assert_eq!((ran.get(C), ran.carry, ran.get(D), ran.get(E)), (n(0), true, n(0), n(9)));
    assert_eq!((ran.outcome.counters.binaries, ran.steps()), (1, 4));
}

#[test]
fn t5_binary_operations() {
    let top = U256::from(1) << 255;
    let cases = [
        ("ADD", top + n(1), false),
        ("SUB", top - n(1), false),
        ("LT", n(0), false),
        ("SLT", n(1), true),
        ("EQ", n(0), false),
        ("AND", n(0), false),
        ("OR", top + n(1), false),
        ("XOR", top + n(1), false),
        ("LT4", n(0), false),
    ];
    for (name, result, carry) in cases {
        let ran = Case::new(&format!("{T} => A ; 1 => B ; $ => C :{name}")).run();
        assert_eq!((ran.get(C), ran.carry), (result, carry), "{name}");
    }
    let ones = "0x0000000000000001000000000000000100000000000000010000000000000001n";
    let ran = Case::new(&format!("{ones} => B ; $ => C :LT4")).run();
    assert_eq!((ran.get(C), ran.carry), (n(1), true));
}

#[test]
fn t6_negative_has_a_range() {
    let run = |value: &str| {
        let text = format!("0 => A ; {value} :JMPN(neg) ; 1 => A ; :JMP(fin) ; neg: 2 => A ; fin: 0 => B");
        let ran = Case::new(&text).run();
        (ran.outcome.error.number(), ran.get(A), ran.steps())
    };
    assert_eq!(run("0"), (1, n(1), 5));
    assert_eq!(run("4294967295"), (1, n(1), 5));
    assert_eq!(run("-1"), (1, n(2), 4));
    assert_eq!(run("-4294967295"), (1, n(2), 4));
    assert_eq!(run("4294967296").0, 66);
    assert_eq!(run("-4294967296").0, 66);
}

#[test]
fn t7_zero_is_limb_0() {
    let ran = Case::new("0x100000000n => A ; A :JMPZ(x) ; 1 => B ; x: 2 => C").run();
    assert_eq!((ran.get(B), ran.get(C), ran.steps()), (n(0), n(2), 3));
}

#[test]
fn t8_calls_return() {
    let ran = Case::new(
        ":CALL(sub) ; 1 => A ; :JMP(fin) ; sub: RR => B ; :RETURN ; fin: 3 => RR ; :JMP(@RR+5) ; 9 => C ; 8 => D",
    )
    .run();
    let found = [ran.get(A), ran.get(B), ran.get(C), ran.get(D), ran.get(Rr)];
    assert_eq!((found, ran.steps()), ([n(1), n(1), n(0), n(8), n(3)], 8));
}

#[test]
fn t9_memory_has_regions() {
    let ran = Case::new(
        "3 => A :MSTORE(5) ; 4 => A :MSTORE(ctx 5) ; 10 => SP ; 6 => A :MSTORE(SP++) ; 7 => E ; 8 => A :MSTORE(mem E)
        $ => B :MLOAD(SP--) ; $ => C :MLOAD(SP) ; $ => D :MLOAD(77) ; 8 :MLOAD(mem E)",
    )
    .run();
    for (address, value) in [(5, 3), (2_359_301, 4), (2_424_842, 6), (2_490_375, 8)] {
        assert_eq!(ran.words.get(&address), Some(&fea::low(value)), "{address}");
    }
    assert_eq!((ran.get(B), ran.get(C), ran.get(D), ran.get(Sp)), (n(0), n(6), n(0), n(10)));
    assert_eq!((ran.outcome.error.number(), ran.steps()), (1, 10));
}

#[test]
fn t10_addresses_and_checks_have_errors() {
    let cases = [
        ("63488 => E ; 1 :MSTORE(E)", 17),
        ("63487 => E ; 1 :MSTORE(E)", 1),
        ("-1 => E ; 1 :MSTORE(E)", 18),
        ("0x80000000 => E ; 1 :MSTORE(E)", 13),
        ("-2147483648 => E ; 1 :MSTORE(E)", 13),
        ("-2147483647 => E ; 1 :MSTORE(E)", 18),
        ("129024 => E ; 1 :MSTORE(mem E)", 17),
        ("129023 => E ; 1 :MSTORE(mem E)", 1),
        ("62000 => E ; 2000 => RR ; 1 :MSTORE(E+RR)", 17),
        ("5 :MLOAD(3)", 35),
        ("1 => A ; 2 :ASSERT", 34),
        ("$ => A :MLOAD(0), ADD", 33),
    ];
    for (text, error) in cases {
        assert_eq!(Case::new(&format!("0 => GAS ; {text}")).error(), error, "{text}");
    }
}

#[test]
fn t10_the_old_bound_is_that_of_early_batches() {
    let text = "0 => GAS ; 63488 => E ; 1 :MSTORE(E)";
    assert_eq!(Case::new(text).fork(4).error(), 1);
    assert_eq!(Case::new(text).fork(4).with(|request| request.old_batch_num = 382_001).error(), 17);
    assert_eq!(Case::new(text).fork(3).with(|request| request.old_batch_num = 382_001).error(), 1);
    assert_eq!(Case::new(text).fork(5).error(), 17);
}

fn abc() -> U256 {
    keccak256(b"abc").into()
}

#[test]
fn t11_keccak() {
    let ran = Case::new("3 => D ; 0x616263 => A ; A :HASHK(0) ; HASHPOS :HASHKLEN(0) ; $ => B :HASHKDIGEST(0)").run();
    assert_eq!(ran.get(B), abc());
    assert_eq!((ran.registers.small[5], ran.outcome.counters.keccaks), (3, 1));
    let ran = Case::new(
        "0x61 :HASHK1(4) ; 0x62 :HASHK1(4) ; 0x63 :HASHK1(4) ; 0 => HASHPOS ; $ => C :HASHK1(4) ; $ => A :HASHKLEN(4)
        $ => B :HASHKDIGEST(4)",
    )
    .run();
    assert_eq!((ran.get(C), ran.get(A), ran.get(B)), (n(0x61), n(3), abc()));
    assert_eq!((ran.registers.small[5], ran.outcome.counters.keccaks), (1, 1));
}

#[test]
fn t12_hash_machines_have_errors() {
    let cases = [
        ("33 => D ; 0 :HASHK(0)", 21),
        ("1 => D ; 0x100 :HASHK(0)", 39),
        ("0x61 :HASHK1(0) ; 0 => HASHPOS ; 0x62 :HASHK1(0)", 38),
        ("1 => HASHPOS ; 0x61 :HASHK1(0)", 23),
        ("0x61 :HASHK1(0) ; 0x62 :HASHK1(0) ; 0 => HASHPOS ; 2 => D ; 0x6162 :HASHK(0)", 40),
        ("-1 => HASHPOS ; 0x61 :HASHK1(0)", 22),
        ("0x61 :HASHK1(0) ; $ => A :HASHK1(0)", 23),
        ("0x61 :HASHK1(0) ; 2 :HASHKLEN(0)", 41),
        ("0 :HASHKLEN(0) ; 0 :HASHKLEN(0)", 42),
        ("0x61 :HASHK1(0) ; $ => A :HASHKDIGEST(0)", 25),
        ("$ => A :HASHKDIGEST(0)", 24),
        ("0 :HASHKDIGEST(0)", 43),
        ("0 :HASHKLEN(0) ; $ => A :HASHKDIGEST(0) ; $ => A :HASHKDIGEST(0)", 45),
        ("0 :HASHKLEN(0) ; 5 :HASHKDIGEST(0)", 44),
        ("33 => D ; 0 :HASHS(0)", 83),
        ("0 :HASHSDIGEST(0)", 93),
    ];
    for (text, error) in cases {
        assert_eq!(Case::new(&format!("0 => GAS ; {text}")).error(), error, "{text}");
    }
    assert_eq!(Case::new("33 => D ; 0 :HASHS(0)").fork(10).error(), 27);
    assert_eq!(Case::new("0 :HASHSDIGEST(0)").fork(10).error(), 107);
}

#[test]
fn t13_programs_are_found_by_their_hash() {
    let digest = uint!(0x9257c9a31308a7cb046aba1a95679dd7e3ad695b6900e84a6470b401b1ea416e_U256);
    let ran = Case::new(
        "0x12 :HASHP1(0) ; 0x34 :HASHP1(0) ; 2 :HASHPLEN(0) ; $ => A :HASHPDIGEST(0) ; 1 => HASHPOS
        A :HASHPDIGEST(7) ; $ => B :HASHP1(7)",
    )
    .run();
    let counters = ran.outcome.counters;
    assert_eq!((ran.get(A), ran.get(B), ran.registers.small[5]), (digest, n(0x34), 2));
    assert_eq!((counters.binaries, counters.poseidon_paddings, counters.poseidons), (2, 2, 2));
    let text =
        "1 => HASHPOS ; 0x34 :HASHP1(0) ; 0 => HASHPOS ; 0x12 :HASHP1(0) ; 2 :HASHPLEN(0) ; $ => A :HASHPDIGEST(0)";
    let ran = Case::new(text).run();
    let counters = ran.outcome.counters;
    assert_eq!(ran.get(A), digest);
    assert_eq!((counters.binaries, counters.poseidon_paddings, counters.poseidons), (1, 1, 1));
    assert_eq!(Case::new(text).fork(6).error(), 29);
    assert_eq!(Case::new("0 => GAS ; 5 :HASHPDIGEST(9)").error(), 107);
}

#[test]
fn t14_sha256() {
    let ran =
        Case::new("0x61 :HASHS1(0) ; 0x62 :HASHS1(0) ; 0x63 :HASHS1(0) ; 3 :HASHSLEN(0) ; $ => A :HASHSDIGEST(0)")
            .run();
    let digest = uint!(0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad_U256);
    assert_eq!((ran.get(A), ran.outcome.counters.sha256s), (digest, 1));
}

#[test]
fn t15_trees() {
    let write =
        "0x617b3a3528F9cDd6630fd3301B9c8911F7bf063Dn => A ; 1000000000000000000n => D ; $ => SR :SWR ; $ => E :SRD";
    let ran = Case::new(write).run();
    let root = uint!(0x0a7fc1bba701900f478194e9be7fd8554d4cbc995c0cbef98d425fc0f55749ed_U256);
    let value = n(1_000_000_000_000_000_000);
    assert_eq!((ran.get(Sr), ran.get(E), ran.balance_sum), (root, value, (value, 0)));
    assert_eq!((ran.outcome.counters.binaries, ran.outcome.counters.poseidons), (1, 8));
    let ran = Case::new(&format!("{write} ; 0 => D ; $ => SR :SWR ; $ => E :SRD")).run();
    assert_eq!((ran.get(Sr), ran.get(E), ran.balance_sum), (n(0), n(0), (n(0), 0)));
    assert_eq!((ran.outcome.counters.binaries, ran.outcome.counters.poseidons), (2, 14));
    assert_eq!(Case::new("0x10000000000000000n => B ; $ => A :SRD").error(), 19);
    assert_eq!(Case::new("0 => GAS ; 5 :SRD").error(), 36);
}

#[test]
fn t16_products() {
    let run = |result: u8| Case::new(&format!("{T} => A ; 4 => B ; 3 => C ; 2 => D ; {result} :ARITH(0)")).run();
    assert_eq!((run(3).outcome.error.number(), run(3).outcome.counters.arithmetics), (1, 1));
    assert_eq!(run(4).outcome.error.number(), 53);
}

#[test]
fn t17_points() {
    let x = "0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798n";
    let y = "0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8n";
    let ran = Case::new(&format!(
        "{x} => A ; {y} => B ; ${{xDblPointEc(%A,%B)}} => E ; ${{yDblPointEc(%A,%B)}} => D :ARITH(2) ; E => C
        ${{xAddPointEc(%A,%B,%C,%D)}} => E ; ${{yAddPointEc(%A,%B,%C,%D)}} => SR :ARITH(1)"
    ))
    .run();
    assert_eq!((ran.outcome.error.number(), ran.outcome.counters.arithmetics), (1, 2));
    let three = [
        uint!(0xf9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9_U256),
        uint!(0x388f7b0f632de8140fe337e62a37f3566500a99934c2231b6cb9fd7584b8e672_U256),
    ];
    assert_eq!([ran.get(E), ran.get(Sr)], three);
    assert_eq!(Case::new(&format!("{x} => A,C ; {y} => B,D ; 0 :ARITH(1)")).error(), 16);
}

#[test]
fn t18_quadratic_extension() {
    let q = uint!(0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47_U256);
    let text = format!(
        "1 => A ; 2 => B ; 3 => C ; 4 => D ; {}n => E ; 10 :ARITH(3) ; {}n => E ; 10 :ARITH(3) ; 4 => E ; 6 :ARITH(4)
        {minus_two}n => E ; {minus_two}n :ARITH(5)",
        q - n(5),
        q + q - n(5),
        minus_two = q - n(2)
    );
    let ran = Case::new(&text).run();
    assert_eq!((ran.outcome.error.number(), ran.outcome.counters.arithmetics), (1, 4));
    assert_eq!(Case::new("1 => A ; 2 => E ; 0 :ARITH(4)").error(), 53);
}

#[test]
fn t19_unaligned_accesses() {
    let read =
        |offset: u8| Case::new(&format!("{FIRST} => A ; {SECOND} => B ; {offset} => C ; $ => D :MEMALIGNRD")).run();
    let bytes: [u8; 64] = std::array::from_fn(|place| place as u8);
    for offset in [0, 5, 31, 32] {
        let ran = read(offset);
        let expected = U256::from_be_slice(&bytes[usize::from(offset)..usize::from(offset) + 32]);
        assert_eq!((ran.get(D), ran.outcome.counters.mem_aligns), (expected, 1), "{offset}");
    }
    assert_eq!(read(33).outcome.error.number(), 32);
    let ran = Case::new(&format!(
        "{FIRST} => A ; {SECOND} => B ; 5 => C ; {F} :MSTORE(3) ; ${{memAlignWR_W0(%A,mem(3),%C)}} => D
        ${{memAlignWR_W1(%B,mem(3),%C)}} => E ; {F} :MEMALIGNWR"
    ))
    .run();
    let mut written = bytes;
    written[5..37].fill(0xff);
    assert_eq!(ran.outcome.error.number(), 1);
    assert_eq!([ran.get(D), ran.get(E)], [U256::from_be_slice(&written[..32]), U256::from_be_slice(&written[32..])]);
    let ran = Case::new(&format!(
        "{FIRST} => A ; 31 => C ; 0x1ab => B ; ${{memAlignWR8_W0(%A,%B,%C)}} => D ; B :MEMALIGNWR8"
    ))
    .run();
    written = bytes;
    written[31] = 0xab;
    assert_eq!((ran.outcome.error.number(), ran.get(D)), (1, U256::from_be_slice(&written[..32])));
}

#[test]
fn t20_commands() {
    let ran = Case::new(
        "${setVar(var x,7)} => A :AFTER(setVar(x,add(x,%A))) ; ${x} => B ; ${div(-7,2)} => C ; ${mod(-7,2)} => D
        ${cond(1)} => E",
    )
    .run();
    assert_eq!((ran.get(A), ran.get(B), ran.get(C)), (n(7), n(14), U256::MAX - n(2)));
    assert_eq!((ran.get(D), ran.low(E)), (U256::MAX, minus_one()));
    let ran = Case::new(
        "${shr(-1,1)} => A ; ${shr(mul(%A,%A),256)} => B ; $0{sub(0,1)} => C ; ${if(gt(3,2),eq(1,1),9)} => D
        ${bitand(-1,63)} => E",
    )
    .run();
    assert_eq!((ran.get(A), ran.get(B)), (U256::MAX, U256::MAX - n(1)));
    assert_eq!((ran.get(C), ran.get(D), ran.get(E)), (n(0xffff_ffff), n(1), n(63)));
    assert_eq!(Case::new("${y} => A").error(), 0);
}

#[test]
fn t21_lines_repeat() {
    let ran = Case::new("3 => RCX ; A + 1 => A :REPEAT").run();
    assert_eq!((ran.get(A), ran.registers.small[6], ran.steps()), (n(4), 0, 5));
}

#[test]
fn t22_the_batch_is_read_by_pieces() {
    let case = |text: &str| Case { data: &[1, 2, 3, 4, 5], ..Case::new(text) };
    let ran = case("${getTxs(1,3)} => A ; ${getTxsLen()} => B").run();
    assert_eq!((ran.get(A), ran.get(B)), (n(0x02_0304), n(5)));
    assert_eq!(case("${getTxs(3,3)} => A").error(), 0);
}

#[test]
fn t23_requests_change_lines() {
    let text = "checkFirstTxType: 5 => A ; writeBlockInfoRoot: 5 => B ; A => D ; verifyMerkleProofEnd: 7 => E
        checkAndSaveFrom: 8 => SR";
    let ran = Case::new(text).run();
    assert_eq!([ran.get(A), ran.get(B), ran.get(C), ran.get(D)], [n(5), n(5), n(0), n(5)]);
    let ran = Case::new(text)
        .with(|request| {
            request.skip_first_change_l2_block = true;
            request.skip_write_block_info_root = true;
            request.skip_verify_l1_info_root = true;
            request.l1_info_root = U256::from(0x1234);
            request.from = Some(alloy_primitives::Address::with_last_byte(0xab));
        })
        .run();
    assert_eq!((ran.low(D), ran.get(B), ran.get(C), ran.get(A)), ([1; 8], n(0), n(0x1234), n(0xab)));
}

#[test]
fn t24_reservations_are_remembered() {
    let text = "100 - STEP - 40 :JMPN(outOfCountersStep) ; 100 - STEP - 30 :JMPN(outOfCountersStep)
        100 - STEP - 300 :JMPN(outOfCountersStep) ; outOfCountersStep: 1 => A";
    let case = |fork| Case { constants: vec![("MAX_CNT_STEPS", 100)], ..Case::new(text).fork(fork) };
    let ran = case(9).run();
    assert_eq!((ran.outcome.reserved.steps, ran.steps()), (302, 4));
    assert_eq!(case(9).with(|request| request.no_counters = true).run().outcome.reserved.steps, 300);
    // Without reservations of its own the answer shows the counters.
    assert_eq!(case(7).run().outcome.reserved.steps, 4);
}

#[test]
fn t25_a_program_of_one_line_never_ends() {
    let case = Case { text: "finalizeExecution: 1 => A".to_owned(), ..Case::new("") };
    assert_eq!(case.error(), 3);
}

#[test]
fn t26_unsigned_requests_pass_the_check_of_the_senders_code() {
    let text = "1 => A ; A :JMPZ(good,invalidIntrinsicTxSenderCode) ; invalidIntrinsicTxSenderCode: 2 => B ; :JMP(e)
        good: 3 => B ; e: 0 => C";
    let ran = Case::new(text).run();
    assert_eq!((ran.get(B), ran.steps()), (n(2), 5));
    let ran = Case::new(text).with(|request| request.from = Some(alloy_primitives::Address::ZERO)).run();
    assert_eq!((ran.get(B), ran.steps()), (n(3), 4));
}

#[test]
fn t27_hashes_use_the_old_position() {
    assert_eq!(Case::new("7 => HASHPOS ; 2 => D ; 0 => HASHPOS :HASHK(0)").error(), 23);
}

#[test]
fn t28_counters_are_sources() {
    let text = "4 => A ; 4 => B ; 1 :EQ ; CntBinary => C ; STEP => D";
    let ran = Case::new(text).run();
    assert_eq!((ran.get(C), ran.get(D), ran.steps()), (n(1), n(4), 5));
    let ran = Case::new(text).with(|request| request.no_counters = true).run();
    assert_eq!((ran.get(C), ran.get(D), ran.steps()), (n(0), n(0), 5));
    let text = "4 => A ; 5 => B ; 1 :EQ";
    assert_eq!(Case::new(text).error(), 59);
    assert_eq!(Case::new(text).fork(10).error(), 55);
}
