//! Equations, binary operations and unaligned accesses against plain big integers and bytes (main-state-machine §5.5 to §5.7).

use alloy_primitives::U256;
use num_bigint::BigUint;
use proptest::prelude::*;

use super::{Case, Ran};
use crate::Register::{C, D};

const NAMES: [&str; 9] = ["ADD", "SUB", "LT", "SLT", "EQ", "AND", "OR", "XOR", "LT4"];

/// Numbers on both sides of what operations look at, and any others.
fn number() -> impl Strategy<Value = U256> {
    let limb = prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(1 << 63), any::<u64>()];
    let limbs = [limb.clone(), limb.clone(), limb.clone(), limb].prop_map(U256::from_limbs);
    let power = (0_usize..256).prop_map(|bit| U256::from(1) << bit);
    let below_power = (0_usize..256).prop_map(|bit| (U256::from(1) << bit) - U256::from(1));
    prop_oneof![4 => limbs, 1 => power, 1 => below_power]
}

fn big(number: U256) -> BigUint {
    BigUint::from_bytes_be(&number.to_be_bytes::<32>())
}

fn word(number: &BigUint) -> U256 {
    U256::from_be_slice(&number.to_bytes_be())
}

fn modulus() -> BigUint {
    BigUint::from(1_u8) << 256_u32
}

/// Returns the result and the carry by their definitions.
fn expected(name: &str, a: U256, b: U256) -> (U256, bool) {
    let (x, y, all) = (big(a), big(b), modulus());
    let truth = |is_true: bool| (U256::from(u64::from(is_true)), is_true);
    // Of two's complements: half of all is added to both.
    let lifted = |x: &BigUint| (x + (&all >> 1_u32)) % &all;
    match name {
        "ADD" => (word(&((&x + &y) % &all)), &x + &y >= all),
        "SUB" => (word(&((&all + &x - &y) % &all)), x < y),
        "LT" => truth(x < y),
        "SLT" => truth(lifted(&x) < lifted(&y)),
        "EQ" => truth(x == y),
        "AND" => (word(&(&x & &y)), (&x & &y) != BigUint::ZERO),
        "OR" => (word(&(&x | &y)), false),
        "XOR" => (word(&(&x ^ &y)), false),
        _ => {
            let quarter = |x: &BigUint, place: u32| (x >> (64 * place)) % (BigUint::from(1_u8) << 64_u32);
            truth((0..4).all(|place| quarter(&x, place) < quarter(&y, place)))
        }
    }
}

fn run(text: &str) -> Ran {
    Case::new(text).run()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn binary_operations_are_those_of_integers(a in number(), b in number(), same in any::<bool>(), flip in 0_usize..256) {
        let b = if same { a } else { b };
        for name in NAMES {
            let (result, carry) = expected(name, a, b);
            let ran = run(&format!("{a}n => A ; {b}n => B ; $ => C :{name}"));
            prop_assert_eq!((ran.outcome.error.number(), ran.get(C), ran.carry), (1, result, carry), "{} of {} and {}", name, a, b);
            prop_assert_eq!(ran.outcome.counters.binaries, 1);
            // A result that is claimed has to be the right one.
            let claim = |result: U256| run(&format!("{a}n => A ; {b}n => B ; {result}n :{name}")).outcome.error.number();
            prop_assert_eq!(claim(result), 1, "{}", name);
            prop_assert_ne!(claim(result ^ U256::from(1) << flip), 1, "{}", name);
        }
    }

    #[test]
    fn the_first_equation_is_that_of_integers(a in number(), b in number(), c in number(), flip in 0_usize..256) {
        let sum = big(a) * big(b) + big(c);
        let (high, low) = (word(&(&sum >> 256_u32)), word(&(&sum % modulus())));
        let claim = |high: U256, low: U256| {
            run(&format!("{a}n => A ; {b}n => B ; {c}n => C ; {high}n => D ; {low}n :ARITH(0)")).outcome
        };
        let outcome = claim(high, low);
        prop_assert_eq!((outcome.error.number(), outcome.counters.arithmetics), (1, 1));
        let bit = U256::from(1) << flip;
        prop_assert_ne!(claim(high, low ^ bit).error.number(), 1);
        prop_assert_ne!(claim(high ^ bit, low).error.number(), 1);
    }

    #[test]
    fn unaligned_accesses_are_those_of_bytes(first in number(), second in number(), value in number(), offset in 0_usize..=32) {
        let mut bytes = [first.to_be_bytes::<32>(), second.to_be_bytes::<32>()].concat();
        let words = format!("{first}n => A ; {second}n => B ; {offset} => C");
        let ran = run(&format!("{words} ; $ => D :MEMALIGNRD"));
        let read = U256::from_be_slice(&bytes[offset..offset + 32]);
        prop_assert_eq!((ran.outcome.error.number(), ran.get(D), ran.outcome.counters.mem_aligns), (1, read, 1));
        prop_assert_eq!(run(&format!("{words} ; {}n :MEMALIGNRD", read ^ U256::from(1))).outcome.error.number() == 1, false);

        bytes[offset..offset + 32].copy_from_slice(&value.to_be_bytes::<32>());
        let (left, right) = (U256::from_be_slice(&bytes[..32]), U256::from_be_slice(&bytes[32..]));
        let write = |left: U256, right: U256| {
            run(&format!("{words} ; {left}n => D ; {right}n => E ; {value}n :MEMALIGNWR")).outcome.error.number()
        };
        prop_assert_eq!(write(left, right), 1);
        prop_assert_ne!(write(left ^ U256::from(1), right), 1);
        prop_assert_ne!(write(left, right ^ U256::from(1)), 1);
    }

    #[test]
    fn a_byte_is_written_alone(first in number(), value in number(), offset in 0_usize..32) {
        let mut bytes = first.to_be_bytes::<32>();
        bytes[offset] = value.byte(0);
        let expected = U256::from_be_bytes(bytes);
        let write = |word: U256| {
            run(&format!("{first}n => A ; {offset} => C ; {word}n => D ; {value}n :MEMALIGNWR8")).outcome.error.number()
        };
        prop_assert_eq!(write(expected), 1);
        prop_assert_ne!(write(expected ^ U256::from(1)), 1);
    }
}

/// A program that never ends uses up its steps, and no more.
#[test]
fn a_program_that_never_ends_stops_at_the_step_limit() {
    let ran = Case::new("again: A + 1 => A :JMP(again)").run();
    assert_eq!((ran.outcome.error.number(), ran.outcome.is_aborted), (3, false));
    assert_eq!((ran.outcome.steps, ran.outcome.counters.steps), (1 << 23, 0));
}
