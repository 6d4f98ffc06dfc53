//! An instruction's text into words: the ways that differ between instructions.
//!
//! Nothing is expanded and no quote removed but in flags, where BuildKit does so at once.

use std::ops::Range;

use crate::text::{is_blank, is_space};

/// One flag word, quotes and escapes removed, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagWord {
    /// The word, `--` included.
    pub text: String,
    /// Its bytes in the instruction's text.
    pub range: Range<usize>,
}

/// Takes the leading `--…` words off `text` from byte `start` on; a lone `--` ends them and is
/// dropped. Returns them and where the rest begins.
pub(crate) fn take_flags(text: &str, start: usize, escape: char) -> (Vec<FlagWord>, usize) {
    let mut flags = Vec::new();
    let mut at = start;
    loop {
        at += text[at..].len() - text[at..].trim_start_matches(is_space).len();
        if !text[at..].starts_with("--") {
            return (flags, at);
        }
        let (word, length) = flag_word(&text[at..], escape);
        let range = at..at + length;
        at = range.end;
        if word == "--" {
            return (flags, at);
        }
        flags.push(FlagWord { text: word, range });
    }
}

/// The word at the start of `text` and its length as written.
fn flag_word(text: &str, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if is_space(c) => return (word, at),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => word.extend(chars.next().map(|(_, c)| c)),
            _ => word.push(c),
        }
    }
    (word, text.len())
}

/// Splits at blanks outside quotes and escapes, which stay in the words (`ENV`, `LABEL`, `ARG`).
pub(crate) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if quote.is_none() && is_space(c) {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        if c == escape && quote != Some('\'') {
            // An escape at the very end is dropped.
            if let Some(escaped) = chars.next() {
                word.extend([c, escaped]);
            }
            continue;
        }
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Splits at blanks, whatever is quoted.
pub(crate) fn plain_words(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while let Some((word, after)) = split_blank(rest) {
        words.push(word.to_owned());
        rest = after;
    }
    words.push(rest.to_owned());
    words
}

/// What is before and after the first run of blanks.
pub(crate) fn split_blank(text: &str) -> Option<(&str, &str)> {
    let (before, after) = text.split_at(text.find(is_blank)?);
    Some((before, after.trim_start_matches(is_blank)))
}

#[cfg(test)]
mod tests {
    use super::{plain_words, quoted_words, take_flags};

    #[test]
    fn takes_flags() {
        let check = |text: &str, escape: char, expected: &str| {
            let (flags, rest) = take_flags(text, 0, escape);
            let mut got: Vec<_> = flags.into_iter().map(|flag| flag.text).collect();
            got.push(format!("<{}>", &text[rest..]));
            assert_eq!(got.join("|"), expected, "{text}");
        };
        check("--a=b  --c d --e", '\\', "--a=b|--c|<d --e>");
        check("--a=\"b c\" d", '\\', "--a=b c|<d>");
        check("--a='b c'\"d\"", '\\', "--a=b cd|<>");
        check("--a=b\\ c d", '\\', "--a=b c|<d>");
        check("--a=b` c\\ d", '`', "--a=b c\\|<d>");
        check("--a=\"b\\\"c\" d", '\\', "--a=b\"c|<d>");
        check("--a -- --b", '\\', "--a|< --b>");
        check("-- a", '\\', "< a>");
        check("--", '\\', "<>");
        check("-a", '\\', "<-a>");
        check("--a\\", '\\', "--a|<>");
        check("--a=\"b c", '\\', "--a=b c|<>");
        check("--a=é b", '\\', "--a=é|<b>");
        check("", '\\', "<>");
    }

    #[test]
    fn splits_words() {
        let quoted = |text: &str, expected: &str| {
            assert_eq!(quoted_words(text, '\\').join("|"), expected, "{text}");
        };
        quoted("a=b  c", "a=b|c");
        quoted("a=\"b c\" d='e f'", "a=\"b c\"|d='e f'");
        quoted("a=b\\ c d", "a=b\\ c|d");
        quoted("a='b\\' c", "a='b\\'|c");
        quoted("a=\"b\\\" c\" d", "a=\"b\\\" c\"|d");
        quoted("a=b\\", "a=b");
        quoted("\\", "");
        quoted("\"\" a", "\"\"|a");
        quoted("a\u{a0}b", "a|b");
        let plain = |text: &str, expected: &str| {
            assert_eq!(plain_words(text).join("|"), expected, "{text}");
        };
        plain("", "");
        plain("a \t b", "a|b");
        plain("\"a b\"", "\"a|b\"");
        plain("a\u{a0}b", "a\u{a0}b");
    }
}
