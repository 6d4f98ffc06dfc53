//! Small questions about text that Go and Rust answer differently.
//!
//! BuildKit's messages and its idea of a space, a digit or a printable character are Go's; they
//! are asked here, once.

/// Go's `unicode.IsSpace`.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace()
}

/// The separators between an instruction's name and its arguments, and between plain words.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// The zero of every block of decimal digits (Unicode category Nd).
const ZEROS: &[u32] = &[
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66,
    0xde6, 0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90,
    0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650,
    0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50,
    0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// Go's `unicode.IsDigit`.
pub(crate) fn is_digit(c: char) -> bool {
    let code = u32::from(c);
    let block = ZEROS.partition_point(|zero| *zero <= code);
    block > 0 && code - ZEROS[block - 1] < 10
}

/// A character of a variable's name after the first.
pub(crate) fn is_name(c: char) -> bool {
    c == '_' || c.is_alphabetic() || is_digit(c)
}

/// Go's `%q` of a string: messages and history are compared byte for byte.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            _ if is_printable(c) => out.push(c),
            _ if u32::from(c) < 0x80 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // Rust escapes a combining mark only at the start of a string, Go never does.
    let mut pair = String::from("a");
    pair.push(c);
    pair.escape_debug().count() == 2
}

/// Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_digit, quote};

    #[test]
    fn quotes_as_go_does() {
        for (text, expected) in [
            ("a", r#""a""#),
            ("\"\\", r#""\"\\""#),
            ("\t\x01\x7f", r#""\t\x01\x7f""#),
            ("한é\u{301}", "\"한é\u{301}\""),
            ("\u{a0}\u{200b}\u{fffd}", "\"\\u00a0\\u200b\u{fffd}\""),
            ("\u{e0001}", "\"\\U000e0001\""),
        ] {
            assert_eq!(quote(text), expected);
        }
    }

    #[test]
    fn knows_digits_of_every_script() {
        for (c, expected) in [('0', true), ('9', true), (':', false), ('٣', true), ('²', false)] {
            assert_eq!(is_digit(c), expected, "{c}");
        }
    }
}
