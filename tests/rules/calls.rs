//! Calls and what they leave in the caller's frame (evm §4.1, §6.2, appendix A).

use super::support::{A, CODE_OF_D, Case, D, check};

/// Fills the return data buffer with 32 bytes.
pub(crate) const CALL_D: &str = "6000600060006000600073400000000000000000000000000000000000000461c350f150";

#[test]
fn a_call_without_funds_costs_its_overhead() {
    let code =
        "5a6000600060006000600573200000000000000000000000000000000000000261c350f16001555a90036002553d6001016003555a
                73200000000000000000000000000000000000000231505a9003600455";
    check(&[Case::new("gas and stipend come back, the receiver is warm, return data is empty")
        .code(A, &[CALL_D, code].concat())
        .code(D, CODE_OF_D)
        .slots_are(&[(1, 0), (2, 36_526), (3, 1), (4, 107)])]);
}

#[test]
fn an_unsupported_precompile_leaves_return_data_only_in_fork_4() {
    let code = [CALL_D, "60006000600060006000600361c350f1503d600101600055"].concat();
    let case = |name| Case::new(name).code(A, &code).code(D, CODE_OF_D);
    check(&[
        case("the buffer keeps what it had").forks(&[4]).slot_is(0, 33),
        case("the buffer is empty").forks(&[5, 6, 7, 8, 9, 10, 11, 12, 13]).slot_is(0, 1),
    ]);
}
