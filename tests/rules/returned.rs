//! What a transaction returns: the bytes its RETURN or REVERT names, whether or not it can pay for them
//! (main-state-machine §9.4).

use revm::primitives::{Bytes, U256};
use zkevm_types::RomError;

use super::support::{A, ALL, bytes};
use super::traces::run;

/// Error and return value of a call of A, which stores the byte 0xaa at 0 and ends with this area.
fn ends_with(fork_id: u64, offset: U256, length: U256, opcode: &str) -> (RomError, Bytes) {
    let code = format!("60aa600053 7f{length:064x} 7f{offset:064x} {opcode}");
    let outputs = run(fork_id, &[(A, &code)], &[(0, Some(A), "")], 0, false);
    let trace = outputs[0].full_trace.as_ref().expect("a trace");
    assert_eq!(trace.context.output, outputs[0].return_value, "fork {fork_id}");
    (outputs[0].error, outputs[0].return_value.clone())
}

fn padded(first: &[u8], length: usize) -> Bytes {
    let mut bytes = first.to_vec();
    bytes.resize(length, 0);
    bytes.into()
}

#[test]
fn an_area_that_is_too_dear_is_returned_all_the_same() {
    const TOO_DEAR: usize = 0xc_0000;
    const MAX: u64 = 0x3f_ffe0;
    let far = U256::from(1) << 64;
    for &fork_id in ALL {
        for opcode in ["f3", "fd"] {
            let returned = |offset, length| {
                let (error, returned) = ends_with(fork_id, offset, length, opcode);
                assert_eq!(error, RomError::OutOfGas, "fork {fork_id}, {opcode}");
                returned
            };
            let place = format!("fork {fork_id}, {opcode}");
            assert!(returned(U256::ZERO, U256::from(TOO_DEAR)) == padded(&[0xaa], TOO_DEAR), "{place}");
            // Of both numbers the low 64 bits count, and of what is longer than memory can be nothing is shown.
            assert_eq!(returned(far, U256::from(2)), bytes("aa00"), "{place}");
            assert_eq!(returned(U256::ZERO, far + U256::from(1)), bytes("aa"), "{place}");
            assert_eq!(returned(U256::from(1) << 40, U256::from(2)), bytes("0000"), "{place}");
            assert_eq!(returned(U256::ZERO, U256::from(MAX)).len() as u64, MAX, "{place}");
            assert_eq!(returned(U256::ZERO, U256::from(MAX + 1)), Bytes::new(), "{place}");
        }
    }
}

#[test]
fn a_frame_that_ends_otherwise_returns_nothing() {
    for &fork_id in ALL {
        for code in ["60aa600053 6001 f3", "60aa600053 60016000 fe"] {
            let outputs = run(fork_id, &[(A, code)], &[(0, Some(A), "")], 0, false);
            assert_eq!(outputs[0].return_value, Bytes::new(), "fork {fork_id}, {code}");
        }
    }
}
