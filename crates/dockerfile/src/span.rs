//! Places in a Dockerfile: what an excerpt, an error or a warning points at.
//!
//! Lines and columns count from 1, columns in bytes, as editors and CI annotations expect.

use std::ops::RangeInclusive;

/// One place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Line, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
}

/// A stretch of text, both ends included in its lines; the end column is the one after the last
/// byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Where it begins.
    pub start: Location,
    /// Where it ends.
    pub end: Location,
}

impl Span {
    /// The span from the first column of `first` to the end column `end_column` of `last`.
    #[must_use]
    pub fn of_lines(first: u32, last: u32, end_column: u32) -> Self {
        Self {
            start: Location { line: first, column: 1 },
            end: Location { line: last.max(first), column: end_column },
        }
    }

    /// The lines it touches.
    #[must_use]
    pub fn lines(&self) -> RangeInclusive<u32> {
        self.start.line..=self.end.line
    }
}
