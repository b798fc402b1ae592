//! A small assembler (main-state-machine §14.1): lines of text to the JSON of a ROM file.

use serde_json::{Map, Value, json};

/// Registers and counters that are sources.
const SOURCES: [&str; 22] = [
    "A",
    "B",
    "C",
    "D",
    "E",
    "SR",
    "CTX",
    "SP",
    "PC",
    "GAS",
    "STEP",
    "RR",
    "HASHPOS",
    "RCX",
    "ROTL_C",
    "CntArith",
    "CntBinary",
    "CntKeccakF",
    "CntPoseidonG",
    "CntPaddingPG",
    "CntMemAlign",
    "CntSha256F",
];
const BINARIES: [&str; 9] = ["ADD", "SUB", "LT", "SLT", "EQ", "AND", "OR", "XOR", "LT4"];
const OPERATORS: &str =
    " setVar add sub neg mul div mod or and gt ge lt le eq ne not bitand bitor bitxor bitnot shl shr if ";

/// Returns the ROM of a program: lines separated by `;` or ends of lines, `[label:] [sum] [=> registers] [:actions]`.
pub(super) fn assemble(text: &str, constants: &[(&str, u64)]) -> Vec<u8> {
    let mut lines: Vec<Map<String, Value>> = Vec::new();
    let mut labels = Map::new();
    let mut targets = Vec::new();
    for text in text.split([';', '\n']).map(str::trim).filter(|line| !line.is_empty()) {
        let mut rest = text;
        if let Some((label, after)) = rest.split_once(": ")
            && label.chars().all(|c| c.is_ascii_alphanumeric())
        {
            labels.insert(label.to_owned(), json!(lines.len()));
            rest = after.trim();
        }
        let mut line = Map::new();
        line.insert("lineStr".to_owned(), json!(text));
        let (sum, actions) = match rest.strip_prefix(':') {
            Some(actions) => ("", actions),
            None => rest.split_once(" :").unwrap_or((rest, "")),
        };
        let (sum, registers) = sum.split_once("=>").unwrap_or((sum, ""));
        for register in registers.split(',').map(str::trim).filter(|register| !register.is_empty()) {
            line.insert(format!("set{register}"), json!(1));
        }
        set_sum(&mut line, sum.trim());
        for action in split(actions) {
            set_action(&mut line, action, lines.len(), &mut targets);
        }
        lines.push(line);
    }
    for (number, field, label) in targets {
        let address = labels.get(&label).unwrap_or_else(|| panic!("no label {label}"));
        lines[number].insert(field.to_owned(), address.clone());
    }
    let constants: Map<String, Value> = constants
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!({"value": value.to_string(), "type": "CONST"})))
        .collect();
    serde_json::to_vec(&json!({"program": lines, "labels": labels, "constants": constants})).unwrap()
}

/// Splits at the commas that stand outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (place, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[from..place].trim());
                from = place + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn set_sum(line: &mut Map<String, Value>, sum: &str) {
    let mut sum = sum.to_owned();
    if let Some(at) = sum.find('$') {
        let low = sum[at + 1..].starts_with('0');
        let name = at + 1 + usize::from(low);
        let (command, end) = match sum[name..].strip_prefix('{') {
            Some(rest) => {
                let length = rest.find('}').expect("a closing brace");
                (command(&rest[..length]), name + length + 2)
            }
            None => (json!({"op": ""}), name),
        };
        line.insert(if low { "inFREE0" } else { "inFREE" }.to_owned(), json!("1"));
        line.insert("freeInTag".to_owned(), command);
        sum.replace_range(at..end, "");
    }
    for term in terms(&sum) {
        let (sign, term) = match term.strip_prefix('-') {
            Some(term) => ("-", term),
            None => ("", term.trim_start_matches('+')),
        };
        let (coefficient, name) = term.split_once('*').unwrap_or(("1", term));
        if SOURCES.contains(&name) {
            line.insert(format!("in{name}"), json!(format!("{sign}{coefficient}")));
        } else if let Some(number) = term.strip_suffix('n') {
            line.insert("CONSTL".to_owned(), json!(format!("{sign}{}", decimal(number))));
        } else {
            let before: i128 = line.get("CONST").and_then(|text| text.as_str()?.parse().ok()).unwrap_or(0);
            let number: i128 = format!("{sign}{}", decimal(term)).parse().unwrap();
            line.insert("CONST".to_owned(), json!((before + number).to_string()));
        }
    }
}

/// Splits a sum into its terms, with their signs.
fn terms(sum: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    for c in sum.chars().filter(|c| !c.is_whitespace()) {
        if matches!(c, '+' | '-') {
            terms.push(String::new());
        }
        if let Some(term) = terms.last_mut() {
            term.push(c);
        }
    }
    terms.retain(|term| !term.is_empty() && term != "+");
    terms
}

fn decimal(number: &str) -> String {
    match number.strip_prefix("0x") {
        Some(digits) => alloy_primitives::U256::from_str_radix(digits, 16).unwrap().to_string(),
        None => number.to_owned(),
    }
}

fn set_action(
    line: &mut Map<String, Value>,
    action: &str,
    number: usize,
    targets: &mut Vec<(usize, &'static str, String)>,
) {
    let (name, argument) = match action.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').expect("a closing parenthesis")),
        None => (action, ""),
    };
    let mut set = |field: &str, value: Value| {
        line.insert(field.to_owned(), value);
    };
    if let Some(opcode) = BINARIES.iter().position(|binary| *binary == name) {
        set("bin", json!(1));
        return set("binOpcode", json!(opcode));
    }
    match name {
        "MLOAD" | "MSTORE" => {
            set("mOp", json!(1));
            set("mWR", json!(u8::from(name == "MSTORE")));
            set_address(line, argument);
        }
        "ASSERT" => set("assert", json!(1)),
        "SRD" => set("sRD", json!(1)),
        "SWR" => set("sWR", json!(1)),
        "ARITH" => set(&format!("arithEq{argument}"), json!(1)),
        "EQUATION" => {
            set("arith", json!(1));
            set("arithEq", json!(argument.parse::<u8>().unwrap()));
        }
        "MEMALIGNRD" | "MEMALIGNWR" | "MEMALIGNWR8" => set(&format!("memAlign{}", &name[8..]), json!(1)),
        "RETURN" => set("return", json!(1)),
        "REPEAT" => set("repeat", json!(1)),
        "BEFORE" => set("cmdBefore", json!([command(argument)])),
        "AFTER" => set("cmdAfter", json!([command(argument)])),
        "JMP" | "JMPN" | "JMPC" | "JMPZ" | "CALL" => {
            set(if name == "CALL" { "call" } else { name }, json!(1));
            let parts = split(argument);
            if let Some(label) = parts.get(1) {
                set("useElseAddr", json!(1));
                set("elseAddrLabel", json!(label));
                targets.push((number, "elseAddr", (*label).to_owned()));
            }
            match parts[0].strip_prefix('@') {
                Some(address) => set_address(line, address),
                None => {
                    set("useJmpAddr", json!(1));
                    targets.push((number, "jmpAddr", parts[0].to_owned()));
                }
            }
        }
        hash if hash.starts_with("HASH") => {
            let field = format!("hash{}", &hash[4..]).replace("LEN", "Len").replace("DIGEST", "Digest");
            set(&field, json!(1));
            set_address(line, argument);
        }
        other => panic!("unknown action {other}"),
    }
}

fn set_address(line: &mut Map<String, Value>, address: &str) {
    let mut set = |field: &str, value: i64| {
        line.insert(field.to_owned(), json!(value));
    };
    let mut rest = address.trim();
    if let Some(inside) = rest.strip_prefix("ctx ") {
        set("useCTX", 1);
        rest = inside;
    }
    if let Some(inside) = rest.strip_prefix("mem ") {
        set("useCTX", 1);
        set("isMem", 1);
        rest = inside;
    }
    if let Some(step) = rest.strip_prefix("SP") {
        set("useCTX", 1);
        set("isStack", 1);
        set("incStack", i64::from(step == "++") - i64::from(step == "--"));
        rest = "";
    }
    let mut offset = 0;
    for term in terms(rest) {
        match term.trim_start_matches('+') {
            "E" => set("ind", 1),
            "RR" => set("indRR", 1),
            number => offset += number.parse::<i64>().unwrap(),
        }
    }
    set("offset", offset);
}

/// Returns a command: `f(x, …)`, a number, `%A`, `var x`, `x`, `mem(5)`, `mem(5,ctx)`.
fn command(text: &str) -> Value {
    let text = text.trim();
    let Some((name, rest)) = text.split_once('(') else {
        return if let Some(variable) = text.strip_prefix("var ") {
            json!({"op": "declareVar", "varName": variable})
        } else if let Some(register) = text.strip_prefix('%') {
            json!({"op": "getReg", "regName": register})
        } else if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            json!({"op": "number", "num": decimal(text)})
        } else {
            json!({"op": "getVar", "varName": text})
        };
    };
    let arguments = split(rest.strip_suffix(')').expect("a closing parenthesis"));
    if name == "mem" {
        let offset: u64 = arguments[0].parse().unwrap();
        return json!({"op": "getMemValue", "offset": offset, "useCTX": u8::from(arguments.len() > 1)});
    }
    let arguments: Vec<Value> = arguments.into_iter().map(command).collect();
    if OPERATORS.contains(&format!(" {name} ")) {
        json!({"op": name, "values": arguments})
    } else {
        json!({"op": "functionCall", "funcName": name, "params": arguments})
    }
}
