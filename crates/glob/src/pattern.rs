//! Go's `path.Match`: the wildcards of COPY and ADD sources.
//!
//! `*` and `?` stop at a slash; a class (`[a-c]`, `[^a]`) does not, which is Go's own behaviour.
//! `**` means nothing more than `*`.

use crate::Error;
use crate::bytes::{as_go_sees, decode, is_invalid};
use crate::sequence::{Class, Item, Sequence, Set};

/// Whether BuildKit takes `text` for a wildcard: an unescaped `*`, `?` or `[`.
pub fn has_wildcards(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    false
}

/// A compiled pattern of Go's `path.Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    sequence: Sequence,
    literal: bool,
}

impl Pattern {
    /// Compiles `text`; the only error is [`Error::Syntax`].
    pub fn new(text: &[u8]) -> Result<Self, Error> {
        let items =
            parse(text).ok_or_else(|| Error::Syntax { pattern: text.to_vec(), line: None })?;
        Ok(Self { sequence: Sequence::new(items), literal: !has_wildcards(text) })
    }

    /// Whether the whole of `path` matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.sequence.matches(path)
    }

    /// Whether something below the directory `path` could match: whether to walk into it.
    pub fn may_match_below(&self, path: &[u8]) -> bool {
        let inside = [path, b"/"].concat();
        self.sequence.may_match_below(&inside)
    }

    /// Whether the pattern has no wildcards.
    pub fn is_literal(&self) -> bool {
        self.literal
    }
}

/// Whether Go accepts `text` as a pattern.
pub(crate) fn is_valid(text: &[u8]) -> bool {
    parse(text).is_some()
}

fn parse(mut text: &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    while let Some((&first, rest)) = text.split_first() {
        match first {
            b'*' => {
                text = rest;
                if items.last() != Some(&Item::Star(Set::NotSlash)) {
                    items.push(Item::Star(Set::NotSlash));
                }
            }
            b'?' => {
                text = rest;
                items.push(Item::One(Set::NotSlash));
            }
            b'[' => {
                let (class, after) = class(rest)?;
                text = after;
                items.push(Item::One(Set::Class(class)));
            }
            _ => {
                if first == b'\\' {
                    text = rest;
                    if text.is_empty() {
                        return None;
                    }
                }
                let (rune, width) = decode(text);
                text = &text[width..];
                items.push(Item::One(Set::Rune(rune)));
            }
        }
    }
    Some(items)
}

/// A class behind its `[`, and the text behind its `]`.
fn class(mut text: &[u8]) -> Option<(Class, &[u8])> {
    let mut class = Class::default();
    if let Some(rest) = text.strip_prefix(b"^") {
        class.negated = true;
        text = rest;
    }
    loop {
        if let Some(rest) = text.strip_prefix(b"]")
            && !class.ranges.is_empty()
        {
            return Some((class, rest));
        }
        let (low, rest) = class_member(text)?;
        text = rest;
        let mut high = low;
        if let Some(rest) = text.strip_prefix(b"-") {
            (high, text) = class_member(rest)?;
        }
        class.ranges.push((low, high));
    }
}

/// One character of a class; something must follow it, at least the closing bracket.
fn class_member(mut text: &[u8]) -> Option<(u32, &[u8])> {
    match text.first()? {
        b'-' | b']' => return None,
        b'\\' => text = &text[1..],
        _ => {}
    }
    if text.is_empty() {
        return None;
    }
    let (rune, width) = decode(text);
    let rest = &text[width..];
    (!is_invalid(rune) && !rest.is_empty()).then(|| (as_go_sees(rune), rest))
}
