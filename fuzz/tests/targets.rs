//! Every target stands up to a second of mutations: the same ones each time.

use std::process::Command;

#[test]
fn the_first_inputs_of_every_target_pass() {
    let output = Command::new(env!("CARGO_BIN_EXE_zkevm-fuzz"))
        .args(["all", "--seconds", "9", "--seed", "1"])
        .output()
        .expect("the driver starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for target in zkevm_fuzz::targets::TARGETS {
        assert!(said.contains(&format!("{}: ", target.name)), "{} did not run: {said}", target.name);
    }
}
