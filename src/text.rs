//! Texts of others in lines of a log: cut to a bound, without control characters.

use std::fmt::{self, Debug, Display, Formatter, Write};

/// Characters of a client's text that are kept for lines, spans and pages; ids of nodes have 36.
const CLIENT_CHARS_MAX: usize = 256;

/// Cuts a text of a client that is only shown to people.
pub(crate) fn cut_client_text(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(CLIENT_CHARS_MAX) {
        let length = text.len();
        text.truncate(end);
        text.shrink_to_fit();
        // Writing to a String cannot fail.
        let _ = write!(text, "… ({length} bytes)");
    }
    text
}

/// Displays as the beginning of a text, with its length if that is not all.
pub(crate) struct Beginning<'a> {
    /// The text.
    pub(crate) text: &'a str,
    /// Bytes of it that are shown at most.
    pub(crate) bytes_max: usize,
}

impl Display for Beginning<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { text, bytes_max } = *self;
        if text.len() <= bytes_max {
            return f.write_str(text);
        }
        let shown = text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default();
        write!(f, "{shown}… ({} bytes, log.line_kib)", text.len())
    }
}

/// Escapes what JSON leaves as it is: DEL, and the control characters of U+0080 to U+009F, with which terminals are spoken to as
/// well. The escapes are JSON's.
pub(crate) fn escape_rest(line: Vec<u8>) -> Vec<u8> {
    let is_rest = |c: char| c.is_control() && c >= '\u{7f}';
    // 0xc2 begins the encoding of all but DEL.
    if !line.iter().any(|byte| matches!(byte, 0x7f | 0xc2)) {
        return line;
    }
    let mut escaped = String::with_capacity(line.len());
    for c in String::from_utf8_lossy(&line).chars() {
        match is_rest(c) {
            // Writing to a String cannot fail.
            true => _ = write!(escaped, "\\u{:04x}", u32::from(c)),
            false => escaped.push(c),
        }
    }
    escaped.into_bytes()
}

/// Displays as the text of a value without control characters.
pub(crate) struct Escaped<'a> {
    value: &'a dyn Debug,
    /// Line breaks stay: they are the program's own, in messages.
    keeps_breaks: bool,
}

impl<'a> Escaped<'a> {
    /// A message of the program. What clients say in one has been escaped where it was put in.
    pub(crate) fn message(value: &'a dyn Debug) -> Self {
        Self { value, keeps_breaks: true }
    }

    /// The value of a tag.
    pub(crate) fn value(value: &'a dyn Debug) -> Self {
        Self { value, keeps_breaks: false }
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(Escaping { to: f, keeps_breaks: self.keeps_breaks }, "{:?}", self.value)
    }
}

struct Escaping<W> {
    to: W,
    keeps_breaks: bool,
}

impl<W: Write> Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        let bad = |c: char| c.is_control() && !(self.keeps_breaks && (c == '\n' || c == '\t'));
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| bad(*c)) {
            let (clean, tail) = rest.split_at(at);
            self.to.write_str(clean)?;
            write!(self.to, "{}", c.escape_debug())?;
            rest = tail.get(c.len_utf8()..).unwrap_or_default();
        }
        self.to.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let said = "a\r\nb\u{1b}[31m\u{9b}ä\t";
        let said = format_args!("{said}");
        assert_eq!(Escaped::value(&said).to_string(), "a\\r\\nb\\u{1b}[31m\\u{9b}ä\\t");
        assert_eq!(Escaped::message(&said).to_string(), "a\\r\nb\\u{1b}[31m\\u{9b}ä\t");
        assert_eq!(Escaped::value(&"a\n").to_string(), "\"a\\n\"");
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(cut_client_text("ä".repeat(256)), "ä".repeat(256));
        assert_eq!(cut_client_text("ä".repeat(300)), format!("{}… (600 bytes)", "ä".repeat(256)));
        let beginning = |bytes_max| Beginning { text: "aä", bytes_max }.to_string();
        assert_eq!((beginning(3).as_str(), beginning(2).as_str()), ("aä", "a… (3 bytes, log.line_kib)"));
    }

    #[test]
    fn what_json_leaves_is_escaped_as_json_does() {
        let line = "{\"a\":\"ä\u{9b}31m\u{7f}\\n\"}\n".as_bytes().to_vec();
        assert_eq!(escape_rest(line), "{\"a\":\"ä\\u009b31m\\u007f\\n\"}\n".as_bytes());
    }
}
