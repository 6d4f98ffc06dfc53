//! One line of an ignore file, compiled the way moby's patternmatcher reads it.
//!
//! patternmatcher rewrites a pattern into a regular expression and keeps three shortcuts for
//! patterns without special characters. What users observe is a product of that rewriting, so it
//! is repeated here: first the same rewriting, then a reader for exactly the expressions it can
//! produce. One deliberate difference: `|`, `^`, `{` and `}`, which leak through as operators
//! there, are ordinary characters here (outside brackets).

use crate::Error;
use crate::bytes::{REPLACEMENT, as_go_sees, decode};
use crate::pattern;
use crate::sequence::{Class, Item, Sequence, Set};

/// A compiled pattern, without its `!`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Matcher {
    /// Equality.
    Exact(Vec<u8>),
    /// Begins with (`a/**`, `a**`).
    Prefix(Vec<u8>),
    /// Ends with (`**/a`, `**a`); with a leading slash, also equality without it.
    Suffix(Vec<u8>),
    /// Everything else.
    Sequence(Sequence),
}

impl Matcher {
    /// Compiles a cleaned pattern.
    pub(crate) fn new(text: &[u8]) -> Result<Self, Error> {
        let syntax = || Error::Syntax { pattern: text.to_vec(), line: None };
        if !pattern::is_valid(text) {
            return Err(syntax());
        }
        let (expression, kind) = rewrite(text);
        match kind {
            Kind::Exact => Ok(Self::Exact(text.to_vec())),
            Kind::Prefix => Ok(Self::Prefix(text[..text.len() - 2].to_vec())),
            Kind::Suffix => Ok(Self::Suffix(text[2..].to_vec())),
            Kind::Expression => match read(&expression) {
                Ok(items) => Ok(Self::Sequence(Sequence::new(items))),
                Err(Refusal::Syntax) => Err(syntax()),
                Err(Refusal::Escape(escape)) => {
                    Err(Error::UnsupportedEscape { pattern: text.to_vec(), escape, line: None })
                }
            },
        }
    }

    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text.as_slice(),
            Self::Prefix(text) => path.starts_with(text),
            Self::Suffix(text) => {
                path.ends_with(text) || text.strip_prefix(b"/").is_some_and(|name| path == name)
            }
            Self::Sequence(sequence) => sequence.matches(path),
        }
    }

    /// Whether a path that begins with `inside` (a directory with its slash) could match.
    pub(crate) fn may_match_below(&self, inside: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.len() > inside.len() && text.starts_with(inside),
            Self::Prefix(text) => text.starts_with(inside) || inside.starts_with(text),
            Self::Suffix(_) => true,
            Self::Sequence(sequence) => sequence.may_match_below(inside),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Expression,
}

/// The rewriting into a regular expression, and whether it is needed.
fn rewrite(text: &[u8]) -> (Vec<char>, Kind) {
    let mut characters = lossy(text).into_iter().peekable();
    let mut expression = Vec::new();
    let mut kind = Kind::Exact;
    let mut first = true;
    while let Some(character) = characters.next() {
        match character {
            '*' if characters.peek() == Some(&'*') => {
                characters.next();
                characters.next_if_eq(&'/');
                if characters.peek().is_some() {
                    expression.extend("(.*/)?".chars());
                    kind = Kind::Expression;
                } else if kind == Kind::Exact {
                    kind = Kind::Prefix;
                } else {
                    expression.extend(".*".chars());
                    kind = Kind::Expression;
                }
                if first {
                    kind = Kind::Suffix;
                }
            }
            '*' => {
                expression.extend("[^/]*".chars());
                kind = Kind::Expression;
            }
            '?' => {
                expression.extend("[^/]".chars());
                kind = Kind::Expression;
            }
            '.' | '+' | '(' | ')' | '$' => expression.extend(['\\', character]),
            '\\' => {
                expression.push('\\');
                // Nothing behind it cannot happen: Go's syntax check has refused that.
                if let Some(escaped) = characters.next() {
                    expression.push(escaped);
                    kind = Kind::Expression;
                }
            }
            '[' | ']' => {
                expression.push(character);
                kind = Kind::Expression;
            }
            _ => expression.push(character),
        }
        first = false;
    }
    (expression, kind)
}

/// The characters of a pattern as Go's scanner yields them: no byte order mark in front, U+FFFD
/// for invalid bytes.
fn lossy(mut text: &[u8]) -> Vec<char> {
    text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut characters = Vec::with_capacity(text.len());
    while !text.is_empty() {
        let (rune, width) = decode(text);
        text = &text[width..];
        characters.push(char::from_u32(as_go_sees(rune)).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    characters
}

/// Why an expression cannot be read.
enum Refusal {
    Syntax,
    Escape(char),
}

/// Reads an expression that [`rewrite`] has produced.
///
/// Operators there are only: classes, a star behind a class, `(.*/)?`, `.*` and escapes. An
/// opening bracket may swallow what was meant as an operator (`[a*]` becomes `[a[^/]*]`); the
/// reader then sees what Go's would see.
fn read(expression: &[char]) -> Result<Vec<Item>, Refusal> {
    const DIRECTORIES: &[char] = &['(', '.', '*', '/', ')', '?'];
    let mut items = Vec::new();
    let mut rest = expression;
    while let Some((&first, after)) = rest.split_first() {
        let set;
        (set, rest) = match first {
            '(' if rest.starts_with(DIRECTORIES) => {
                items.extend([Item::Maybe, Item::Directories]);
                rest = &rest[DIRECTORIES.len()..];
                continue;
            }
            '.' if after.first() == Some(&'*') => {
                items.push(Item::Anything);
                rest = &after[1..];
                continue;
            }
            '[' => class(after)?,
            '\\' => escape(after)?,
            _ => (literal(first), after),
        };
        // The rewriting puts a star behind a class only.
        if let Some((&'*', after)) = rest.split_first() {
            items.push(Item::Star(set));
            rest = after;
        } else {
            items.push(Item::One(set));
        }
    }
    Ok(items)
}

fn literal(character: char) -> Set {
    let rune = u32::from(character);
    // The replacement character stands for itself and for every invalid byte.
    if rune == REPLACEMENT {
        Set::Class(Class { negated: false, ranges: vec![(rune, rune)] })
    } else {
        Set::Rune(rune)
    }
}

type Read<'a, T> = Result<(T, &'a [char]), Refusal>;

/// An escape outside brackets, behind its backslash.
fn escape(text: &[char]) -> Read<'_, Set> {
    let Some((&first, rest)) = text.split_first() else { return Err(Refusal::Syntax) };
    if let Some(class) = named_class(first) {
        return Ok((Set::Class(class), rest));
    }
    let (character, rest) = escaped(text)?;
    Ok((literal(character), rest))
}

/// A single escaped character, behind its backslash.
fn escaped(text: &[char]) -> Read<'_, char> {
    let Some((&first, rest)) = text.split_first() else { return Err(Refusal::Syntax) };
    let character = match first {
        'a' => '\u{7}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'A' | 'b' | 'B' | 'C' | 'Q' | 'z' | 'p' | 'P' | 'x' | '0'..='7' => {
            return Err(Refusal::Escape(first));
        }
        _ if first.is_ascii() && !first.is_ascii_alphanumeric() => first,
        _ => return Err(Refusal::Syntax),
    };
    Ok((character, rest))
}

/// `\d`, `\s`, `\w` and their negations.
fn named_class(name: char) -> Option<Class> {
    let ranges: &[(char, char)] = match name.to_ascii_lowercase() {
        'd' => &[('0', '9')],
        's' => &[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')],
        'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        _ => return None,
    };
    let ranges = ranges.iter().map(|&(low, high)| (u32::from(low), u32::from(high))).collect();
    Some(Class { negated: name.is_ascii_uppercase(), ranges })
}

/// The ranges a class covers, with a negation carried out; the input ranges are in order.
fn positive(class: Class) -> Vec<(u32, u32)> {
    if !class.negated {
        return class.ranges;
    }
    let mut ranges = Vec::new();
    let mut next = 0;
    for (low, high) in class.ranges {
        if low > next {
            ranges.push((next, low - 1));
        }
        next = high + 1;
    }
    ranges.push((next, u32::from(char::MAX)));
    ranges
}

/// A bracket expression, behind its `[`.
fn class(mut text: &[char]) -> Read<'_, Set> {
    let mut class = Class::default();
    if let Some(rest) = text.strip_prefix(&['^']) {
        class.negated = true;
        text = rest;
    }
    let mut first = true;
    loop {
        let Some(&next) = text.first() else { return Err(Refusal::Syntax) };
        if next == ']' && !first {
            return Ok((Set::Class(class), &text[1..]));
        }
        first = false;
        if next == '[' && text.get(1) == Some(&':') && closes_name(text) {
            return Err(Refusal::Syntax);
        }
        if next == '\\'
            && let Some(named) = text.get(1).and_then(|&name| named_class(name))
        {
            class.ranges.extend(positive(named));
            text = &text[2..];
            continue;
        }
        let (low, rest) = class_member(text)?;
        text = rest;
        let mut high = low;
        if let [&'-', after] = text.iter().take(2).collect::<Vec<_>>()[..]
            && *after != ']'
        {
            (high, text) = class_member(&text[1..])?;
        }
        if high < low {
            return Err(Refusal::Syntax);
        }
        class.ranges.push((u32::from(low), u32::from(high)));
    }
}

/// Whether `[:` opens a POSIX name such as `[:alpha:]`, which only regular expressions know.
fn closes_name(text: &[char]) -> bool {
    text.windows(2).skip(2).any(|pair| pair == [':', ']'])
}

fn class_member(text: &[char]) -> Read<'_, char> {
    match text.split_first() {
        None => Err(Refusal::Syntax),
        Some((&'\\', rest)) => escaped(rest),
        Some((&character, rest)) => Ok((character, rest)),
    }
}
