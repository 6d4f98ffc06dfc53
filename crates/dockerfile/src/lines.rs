//! Physical lines, and how continued ones are joined.

use std::ops::Range;

use crate::span::{Location, Span};
use crate::text::is_space;

/// How long a physical line may be, its end not counted.
const LENGTH_LIMIT: usize = 65_535;

/// Hands out physical lines, ends included.
pub(crate) struct LineReader<'a> {
    rest: &'a str,
    number: u32,
    too_long: bool,
}

impl<'a> LineReader<'a> {
    /// A byte order mark before the first line is dropped.
    pub(crate) fn new(text: &'a str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { rest, number: 0, too_long: false }
    }

    /// The next line. A line that is too long ends the file.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() || self.too_long {
            return None;
        }
        let length = self.rest.find('\n');
        if length.unwrap_or(self.rest.len()) > LENGTH_LIMIT {
            self.too_long = true;
            return None;
        }
        let (line, rest) = self.rest.split_at(length.map_or(self.rest.len(), |at| at + 1));
        self.rest = rest;
        self.number += 1;
        Some(line)
    }

    /// The number of the line handed out last, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What was not handed out yet.
    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(crate) fn too_long(&self) -> bool {
        self.too_long
    }
}

pub(crate) fn trim_newline(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

pub(crate) fn is_comment(line: &str) -> bool {
    line.trim_start_matches(is_space).starts_with('#')
}

/// An instruction's text with what is needed to find its parts in the file again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogicalLine {
    /// The text, continued lines joined.
    pub text: String,
    /// The line after which BuildKit noticed a blank line among the continued ones.
    pub empty_continuation: Option<u32>,
    /// Where each piece begins: byte in `text`, line, byte in the line.
    pieces: Vec<(usize, u32, usize)>,
}

impl LogicalLine {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn of_text(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Adds a physical line that begins `indent` bytes after the line's start; whether it is
    /// continued.
    pub(crate) fn push(&mut self, line: &str, number: u32, indent: usize, escape: char) -> bool {
        let (text, continued) = match without_continuation(line, escape) {
            Some(text) => (text, true),
            None => (line, false),
        };
        self.pieces.push((self.text.len(), number, indent));
        self.text.push_str(text);
        continued
    }

    /// Where bytes of the text stand in the file.
    #[must_use]
    pub fn span(&self, range: &Range<usize>) -> Span {
        Span { start: self.locate(range.start, false), end: self.locate(range.end, true) }
    }

    fn locate(&self, at: usize, is_end: bool) -> Location {
        let after = self.pieces.partition_point(|piece| piece.0 < at || (piece.0 == at && !is_end));
        let (start, line, indent) =
            self.pieces.get(after.saturating_sub(1)).copied().unwrap_or((0, 1, 0));
        let column = u32::try_from(at - start.min(at) + indent + 1).unwrap_or(u32::MAX);
        Location { line, column }
    }
}

/// The line without its continuation: an escape that no escape stands before, and blanks after it.
pub(crate) fn without_continuation(line: &str, escape: char) -> Option<&str> {
    let text = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!text.ends_with(escape)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{LineReader, LogicalLine, without_continuation};

    #[test]
    fn knows_a_continuation() {
        for (line, expected) in [
            ("a\\", Some("a")),
            ("a \\ \t", Some("a ")),
            ("\\", Some("")),
            ("a", None),
            ("a\\\\", None),
            ("a\\\\\\", None),
            ("\\\\", None),
            ("a\\b", None),
            ("", None),
        ] {
            assert_eq!(without_continuation(line, '\\'), expected, "{line}");
        }
    }

    #[test]
    fn finds_parts_of_joined_lines_again() {
        let mut line = LogicalLine::new();
        assert!(line.push("RUN \\", 3, 2, '\\'));
        assert!(!line.push("  --a=b c", 5, 0, '\\'));
        assert_eq!(line.text, "RUN   --a=b c");
        let span = line.span(&(6..11));
        assert_eq!((span.start.line, span.start.column), (5, 3));
        assert_eq!((span.end.line, span.end.column), (5, 8));
        let span = line.span(&(0..4));
        assert_eq!((span.start.line, span.start.column), (3, 3));
        assert_eq!((span.end.line, span.end.column), (3, 7));
    }

    #[test]
    fn limits_the_length_of_a_line() {
        for (length, too_long) in [(65_535, false), (65_536, true)] {
            for end in ["", "\n"] {
                let text = format!("{}{end}", "x".repeat(length));
                let mut reader = LineReader::new(&text);
                assert_eq!(reader.next().is_none(), too_long);
                assert_eq!(reader.too_long(), too_long);
            }
        }
    }
}
