//! Just enough JSON: is the text an array of strings, and does an object name a syntax.
//!
//! What Go's decoder accepts is accepted, with one pass and without recursion, because invalid
//! JSON is no error in a Dockerfile: it makes the text a shell command.

/// Go's limit of nesting.
const DEPTH_LIMIT: usize = 10_000;

/// The array holds something that is no string.
pub(crate) struct NotStrings;

/// Reads an array of strings. `None`: the text is not one JSON array.
pub(crate) fn string_array(text: &str) -> Option<Result<Vec<String>, NotStrings>> {
    if !text.starts_with('[') {
        return None;
    }
    let mut scanner = Scanner { text, at: 0 };
    scanner.document()?;
    scanner.at = 1;
    let mut strings = Vec::new();
    if scanner.peek()? == b']' {
        return Some(Ok(strings));
    }
    loop {
        if scanner.peek()? != b'"' {
            return Some(Err(NotStrings));
        }
        let start = scanner.at;
        scanner.string()?;
        strings.push(unescape(&text[start + 1..scanner.at - 1]));
        if scanner.peek()? == b']' {
            return Some(Ok(strings));
        }
        scanner.at += 1;
    }
}

/// The string that an object holds under `key`; of several the last, as in Go.
pub(crate) fn string_member(text: &str, key: &str) -> Option<String> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.document()?;
    scanner.at = 0;
    if scanner.peek()? != b'{' {
        return None;
    }
    scanner.at += 1;
    let mut found = None;
    while scanner.peek()? == b'"' {
        let start = scanner.at;
        scanner.string()?;
        let name = unescape(&text[start + 1..scanner.at - 1]);
        scanner.expect(b':')?;
        let is_string = scanner.peek()? == b'"';
        let start = scanner.at;
        scanner.value()?;
        if name == key {
            found = is_string.then(|| unescape(&text[start + 1..scanner.at - 1]));
        }
        if scanner.peek()? == b',' {
            scanner.at += 1;
        }
    }
    found
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    /// The next byte that is no white space, not consumed.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn document(&mut self) -> Option<()> {
        self.value()?;
        self.peek().is_none().then_some(())
    }

    /// Skips one value, whatever it holds.
    fn value(&mut self) -> Option<()> {
        let mut open = Vec::new();
        loop {
            match self.peek()? {
                bracket @ (b'[' | b'{') => {
                    self.at += 1;
                    if open.len() == DEPTH_LIMIT {
                        return None;
                    }
                    let close = if bracket == b'[' { b']' } else { b'}' };
                    if self.peek()? != close {
                        open.push(close);
                        self.member_name(close)?;
                        continue;
                    }
                    self.at += 1;
                }
                b'"' => self.string()?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                _ => self.number()?,
            }
            loop {
                let Some(close) = open.last().copied() else { return Some(()) };
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        self.member_name(close)?;
                        break;
                    }
                    byte if byte == close => {
                        self.at += 1;
                        open.pop();
                    }
                    _ => return None,
                }
            }
        }
    }

    /// In an object, the name and colon before a value.
    fn member_name(&mut self, close: u8) -> Option<()> {
        if close == b'}' {
            self.peek()?;
            self.string()?;
            self.expect(b':')?;
        }
        Some(())
    }

    fn literal(&mut self, word: &str) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        let digits = |at: &mut usize| {
            let start = *at;
            while bytes.get(*at).is_some_and(u8::is_ascii_digit) {
                *at += 1;
            }
            *at > start
        };
        let mut at = self.at;
        if bytes.get(at) == Some(&b'-') {
            at += 1;
        }
        let zero = bytes.get(at) == Some(&b'0');
        if zero {
            at += 1;
        } else if !digits(&mut at) {
            return None;
        }
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            if !digits(&mut at) {
                return None;
            }
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            if matches!(bytes.get(at), Some(b'+' | b'-')) {
                at += 1;
            }
            if !digits(&mut at) {
                return None;
            }
        }
        self.at = at;
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        at += 1;
        loop {
            match bytes.get(at)? {
                b'"' => break,
                0..=0x1f => return None,
                b'\\' => match bytes.get(at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                    b'u' => {
                        let digits = bytes.get(at + 2..at + 6)?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                        at += 6;
                    }
                    _ => return None,
                },
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Some(())
    }
}

/// Undoes the escapes of a string that [`Scanner::string`] has accepted.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(length) = rest.find('\\') {
        out.push_str(&rest[..length]);
        rest = &rest[length + 1..];
        let Some(kind) = rest.chars().next() else { break };
        rest = &rest[kind.len_utf8()..];
        match kind {
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => out.push(unicode_escape(&mut rest)),
            other => out.push(other),
        }
    }
    out.push_str(rest);
    out
}

/// A `\u`, with its second half if it is a surrogate; half a pair becomes U+FFFD.
fn unicode_escape(rest: &mut &str) -> char {
    let hex = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = hex(rest) else { return char::REPLACEMENT_CHARACTER };
    *rest = &rest[4..];
    if let Some(c) = char::from_u32(first) {
        return c;
    }
    if first < 0xdc00
        && rest.starts_with("\\u")
        && let Some(second @ 0xdc00..=0xdfff) = hex(&rest[2..])
    {
        *rest = &rest[6..];
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    }
    char::REPLACEMENT_CHARACTER
}

#[cfg(test)]
mod tests {
    use super::{string_array, string_member};

    #[test]
    fn tells_arrays_of_strings_from_other_text() {
        let check = |text: &str, expected: &str| {
            let got = match string_array(text) {
                None => "no array".to_owned(),
                Some(Err(_)) => "no strings".to_owned(),
                Some(Ok(strings)) => format!("{strings:?}"),
            };
            assert_eq!(got, expected, "{text}");
        };
        check("[]", "[]");
        check("[ \"a\" , \"b\\n\\u00e9\\ud83d\\ude00\\ud800x\" ]", "[\"a\", \"b\\né😀\u{fffd}x\"]");
        check("[\"a\",1]", "no strings");
        check("[\"a\",null]", "no strings");
        check("[{\"a\":[1.5e-3,true,false]}]", "no strings");
        check("[\"a\"", "no array");
        check("[\"a\",]", "no array");
        check("['a']", "no array");
        check("[a]", "no array");
        check("[01]", "no array");
        check("[\"\\x\"]", "no array");
        check("[\"a\tb\"]", "no array");
        check("[\"a\"] b", "no array");
        check("[-]", "no array");
        check("{}", "no array");
        check("", "no array");
        check(&"[".repeat(100_000), "no array");
        check(&format!("{}{}", "[".repeat(10_001), "]".repeat(10_001)), "no array");
        check(&format!("{}{}", "[".repeat(9_000), "]".repeat(9_000)), "no strings");
    }

    #[test]
    fn finds_a_member_of_an_object() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(string_member(text, "syntax").as_deref(), expected, "{text}");
        };
        check("{\"a\":{\"syntax\":\"x\"},\"syntax\":\"y\"}", Some("y"));
        check("{\"syntax\":\"y\", \"syntax\": 1}", None);
        check(" {\n}\n", None);
        check("{\"syntax\":\"y\"} x", None);
        check("[\"syntax\"]", None);
    }
}
