//! The wildcards of `${name#pattern}`, `${name%pattern}` and `${name/pattern/text}`.
//!
//! Only `*` and `?` are special, and they match any character but a newline. BuildKit turns the
//! pattern into a regular expression; this computes the same matches in time and memory
//! proportional to value times pattern, by one pass from the right for each `*`.

use std::borrow::Cow;

type Reason = Cow<'static, str>;

/// Value length times pattern length, above which a substitution is refused.
const WORK_LIMIT: usize = 1 << 30;
/// "No match begins here."
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
enum Token {
    Char(char),
    AnyChar,
}

impl Token {
    fn matches(self, c: char) -> bool {
        match self {
            Self::Char(expected) => expected == c,
            Self::AnyChar => c != '\n',
        }
    }
}

/// A pattern: what stands between its stars.
struct Pattern {
    segments: Vec<Vec<Token>>,
    length: usize,
}

impl Pattern {
    fn new(pattern: &[char]) -> Result<Self, String> {
        let mut segments = vec![Vec::new()];
        let mut tokens = Vec::new();
        // As everywhere where Go's scanner reads, a leading byte order mark is nothing.
        let mut chars =
            pattern.strip_prefix(&['\u{feff}']).unwrap_or(pattern).iter().copied().peekable();
        while let Some(c) = chars.next() {
            match c {
                '*' => {
                    segments.push(std::mem::take(&mut tokens));
                    continue;
                }
                '?' => tokens.push(Token::AnyChar),
                // `}` and `/` are escaped for the sake of `${}`, not of the pattern.
                '\\' if matches!(chars.peek(), Some('}' | '/')) => {}
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\')) => tokens.push(Token::Char(c)),
                    other => {
                        let c = other.unwrap_or(char::REPLACEMENT_CHARACTER);
                        return Err(format!("invalid escape '\\{c}'"));
                    }
                },
                c => tokens.push(Token::Char(c)),
            }
        }
        segments.push(tokens);
        segments.remove(0);
        Ok(Self { segments, length: pattern.len() })
    }

    /// For every position of `value` where the match that begins there ends, or [`NONE`]. The
    /// longest if `greedy`, else the shortest.
    fn ends(&self, value: &[char], greedy: bool) -> Result<Vec<u32>, Reason> {
        let too_long = || Cow::Borrowed("pattern and value are too long");
        if value.len().saturating_mul(self.length.max(1)) > WORK_LIMIT {
            return Err(too_long());
        }
        let size = u32::try_from(value.len()).map_err(|_| too_long())?;
        let mut ends: Vec<u32> = (0..=size).collect();
        for (index, segment) in self.segments.iter().enumerate().rev() {
            let mut next: Vec<u32> = (0..=value.len())
                .map(|at| match value.get(at..at + segment.len()) {
                    Some(part) if segment.iter().zip(part).all(|(t, c)| t.matches(*c)) => {
                        ends[at + segment.len()]
                    }
                    _ => NONE,
                })
                .collect();
            if index > 0 {
                // A star stands before this segment: it may begin further on in the same line.
                for at in (0..value.len()).rev() {
                    let later = if value[at] == '\n' { NONE } else { next[at + 1] };
                    if next[at] == NONE || (greedy && later != NONE) {
                        next[at] = later;
                    }
                }
            }
            ends = next;
        }
        Ok(ends)
    }
}

fn compile(pattern: &str, chars: &[char]) -> Result<Pattern, Reason> {
    Pattern::new(chars)
        .map_err(|why| Cow::Owned(format!("invalid pattern ({pattern}) in substitution: {why}")))
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

pub(super) fn trim_prefix(pattern: &str, value: &str, greedy: bool) -> Result<String, Reason> {
    let value = chars(value);
    let length = prefix_length(pattern, &chars(pattern), &value, greedy)?;
    Ok(value[length..].iter().collect())
}

pub(super) fn trim_suffix(pattern: &str, value: &str, greedy: bool) -> Result<String, Reason> {
    let mut reversed = chars(value);
    reversed.reverse();
    let pattern_reversed = reverse_pattern(&chars(pattern));
    let shown: String = pattern_reversed.iter().collect();
    let length = prefix_length(&shown, &pattern_reversed, &reversed, greedy)?;
    Ok(reversed[length..].iter().rev().collect())
}

fn prefix_length(
    shown: &str,
    pattern: &[char],
    value: &[char],
    greedy: bool,
) -> Result<usize, Reason> {
    match compile(shown, pattern)?.ends(value, greedy)?[0] {
        NONE => Ok(0),
        end => Ok(end as usize),
    }
}

/// Reverses a pattern, but not the order of an escape and what it escapes.
fn reverse_pattern(pattern: &[char]) -> Vec<char> {
    let mut out = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((first, tail)) = rest.split_first() {
        match tail.split_first() {
            Some((escaped, tail)) if *first == '\\' => {
                out.extend([*escaped, '\\']);
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out.reverse();
    out
}

pub(super) fn replace_first(pattern: &str, value: &str, to: &str) -> Result<String, Reason> {
    let value = chars(value);
    let ends = compile(pattern, &chars(pattern))?.ends(&value, true)?;
    let Some(start) = ends.iter().position(|end| *end != NONE) else {
        return Ok(value.iter().collect());
    };
    let end = ends[start] as usize;
    Ok(value[..start]
        .iter()
        .copied()
        .chain(to.chars())
        .chain(value[end..].iter().copied())
        .collect())
}

/// As Go's `Regexp.ReplaceAll`: matches do not overlap, and an empty match right after another
/// match does not count.
pub(super) fn replace_all(
    pattern: &str,
    value: &str,
    to: &str,
    limit: usize,
) -> Result<String, Reason> {
    let value = chars(value);
    let ends = compile(pattern, &chars(pattern))?.ends(&value, true)?;
    let mut out = String::new();
    let mut copied = 0;
    let mut search = 0;
    while let Some(offset) =
        ends.get(search..).and_then(|ends| ends.iter().position(|end| *end != NONE))
    {
        let start = search + offset;
        let end = ends[start] as usize;
        out.extend(&value[copied..start]);
        if end > copied || start == 0 {
            out.push_str(to);
        }
        if out.len() > limit {
            return Err(Cow::Borrowed("result is more than 1 MiB longer than the word"));
        }
        copied = end;
        search = end.max(search + 1);
    }
    out.extend(&value[copied..]);
    Ok(out)
}
