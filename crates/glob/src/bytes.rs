//! Go's text primitives over bytes: runes, white space, path cleaning.
//!
//! Paths need not be UTF-8. An invalid byte counts as one character of its own, as in Go, but
//! keeps its identity here, so that two different invalid bytes stay different.

/// Where the codes of invalid bytes begin: the first value that is no Unicode scalar.
const INVALID: u32 = 0x11_0000;

/// What Go sees in place of an invalid byte.
pub(crate) const REPLACEMENT: u32 = 0xFFFD;

/// The first character of `bytes` and its length; `bytes` must not be empty.
pub(crate) fn decode(bytes: &[u8]) -> (u32, usize) {
    let first = bytes[0];
    let width = match first {
        0..=0x7F => return (u32::from(first), 1),
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return (INVALID + u32::from(first), 1),
    };
    let valid = bytes.get(..width).and_then(|head| std::str::from_utf8(head).ok());
    match valid.and_then(|text| text.chars().next()) {
        Some(character) => (u32::from(character), width),
        None => (INVALID + u32::from(first), 1),
    }
}

/// A character as Go's regular expressions and classes see it.
pub(crate) fn as_go_sees(rune: u32) -> u32 {
    if rune >= INVALID { REPLACEMENT } else { rune }
}

/// Whether a character code stands for an invalid byte.
pub(crate) fn is_invalid(rune: u32) -> bool {
    rune >= INVALID
}

fn is_space(rune: u32) -> bool {
    char::from_u32(rune).is_some_and(char::is_whitespace)
}

/// Drops Unicode white space at both ends.
pub(crate) fn trim_space(mut bytes: &[u8]) -> &[u8] {
    while !bytes.is_empty() {
        let (rune, width) = decode(bytes);
        if !is_space(rune) {
            break;
        }
        bytes = &bytes[width..];
    }
    'end: while !bytes.is_empty() {
        for width in 1..=bytes.len().min(4) {
            let start = bytes.len() - width;
            let (rune, length) = decode(&bytes[start..]);
            if length == width && is_space(rune) {
                bytes = &bytes[..start];
                continue 'end;
            }
        }
        break;
    }
    bytes
}

/// Go's `path.Clean`: the shortest equal path, purely by its text; empty becomes `.`.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(&last) if last != b".." => {
                    kept.pop();
                }
                _ if rooted => {}
                _ => kept.push(part),
            },
            _ => kept.push(part),
        }
    }
    let joined = kept.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&clean(path.as_bytes())), expected, "{path:?}");
    }

    #[test]
    fn cleaning_is_gos() {
        check("", ".");
        check("/", "/");
        check("//", "/");
        check("./a", "a");
        check("a//b/", "a/b");
        check("a/../b", "b");
        check("../../a", "../../a");
        check("/../a", "/a");
        check("a/../..", "..");
        check("/a/./b/..", "/a");
    }

    #[test]
    fn trimming_knows_unicode_and_leaves_invalid_bytes() {
        assert_eq!(trim_space("\u{a0}\t a \u{3000}\u{85}".as_bytes()), b"a");
        assert_eq!(trim_space(b" \xa0a\xff "), b"\xa0a\xff");
        assert_eq!(trim_space(b" \n "), b"");
    }

    #[test]
    fn decoding_keeps_invalid_bytes_apart() {
        assert_eq!(decode("é".as_bytes()), (0xE9, 2));
        assert_eq!(decode(b"\xc3").1, 1);
        assert_ne!(decode(b"\xc3"), decode(b"\xff"));
        assert_eq!(decode(b"\xed\xa0\x80").1, 1);
    }
}
