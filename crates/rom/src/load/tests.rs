//! What a file may hold.

use super::{load, load_part};

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("[]", "invalid type"),
        (r#"{"program":[]}"#, "without lines"),
        (r#"{"program":[{"inX":"1"}],"labels":{"finalizeExecution":0}}"#, "line 0: unknown field inX"),
        (r#"{"program":[{"inA":1}]}"#, "line 0, inA: invalid type"),
        (r#"{"program":[{"setA":2}]}"#, "line 0, setA: 2 instead of 0 or 1"),
        (r#"{"program":[{"inA":"18446744069414584321"}]}"#, "is no field element"),
        (r#"{"program":[{"inFREE":"1"}]}"#, "a free input without freeInTag"),
        (r#"{"program":[{"inFREE":"1","freeInTag":{"op":"pow"}}]}"#, "unknown op \"pow\""),
        (r#"{"program":[{"inFREE":"1","freeInTag":{"op":"functionCall","funcName":"f"}}]}"#, "unknown function \"f\""),
        (r#"{"program":[{"inFREE":"1","freeInTag":{"op":"getReg","regName":"Z"}}]}"#, "unknown register \"Z\""),
        (r#"{"program":[{"JMP":1,"JMPN":1}]}"#, "more than one jump"),
        (r#"{"program":[{"bin":1,"binOpcode":9}]}"#, "binOpcode 9"),
        (r#"{"program":[{"JMP":1,"useJmpAddr":1}]}"#, "useJmpAddr without jmpAddr"),
        (r#"{"program":[{"JMP":1,"useJmpAddr":1,"jmpAddr":1}]}"#, "a jump out of the program"),
        (r#"{"program":[{}]}"#, "no label finalizeExecution"),
        (r#"{"program":[{}],"labels":{"x":1}}"#, "label x is line 1 of 1"),
        (r#"{"program":[{"memAlignRD":1,"memAlignWR":1}]}"#, "more than one memAlign kind"),
        (r#"{"program":[{"cmdBefore":[{"op":"functionCall","funcName":"eventLog","params":[]}]}]}"#, "no known shape"),
    ];
    for (json, expected) in cases {
        let error = load_part(json.as_bytes(), 9).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn a_whole_rom_needs_its_labels() {
    let error = load(br#"{"program":[{}],"labels":{"finalizeExecution":0}}"#, 9).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "no label checkAndSaveFrom");
    assert_eq!(load(b"{}", 99).map(drop).unwrap_err().to_string(), "no machine runs fork 99");
}

#[test]
fn nesting_has_an_end() {
    let deep = |levels: usize| {
        let open = r#"{"op":"neg","values":["#.repeat(levels);
        let close = "]}".repeat(levels);
        format!(
            r#"{{"program":[{{"cmdAfter":[{open}{{"op":"number","num":"1"}}{close}]}}],"labels":{{"finalizeExecution":0}}}}"#
        )
    };
    assert!(load_part(deep(31).as_bytes(), 9).is_ok());
    assert!(load_part(deep(32).as_bytes(), 9).is_err());
    assert!(load_part(deep(100_000).as_bytes(), 9).is_err());
}
