//! Go's path matching and `.dockerignore` semantics, over bytes.
//!
//! Responsible for: what a pattern means ([`Pattern`] for COPY and ADD sources, [`IgnoreFile`]
//! for ignore files and `--exclude`), exactly as BuildKit's matchers answer, in time linear in the
//! length of the path. Does not walk directories: a caller that walks hands each directory's
//! [`Verdict`] down to its entries. Read [`IgnoreFile`] first.

#![forbid(unsafe_code)]

mod bytes;
mod compile;
mod ignore;
mod index;
mod pattern;
mod sequence;

pub use bytes::clean;
pub use ignore::{IgnoreFile, Verdict};
pub use pattern::{Pattern, has_wildcards};

/// Why a pattern or an ignore file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pattern breaks Go's pattern syntax.
    #[error("syntax error in pattern: `{}`", pattern.escape_ascii())]
    Syntax {
        /// The pattern as it was written, cleaned.
        pattern: Vec<u8>,
        /// The line of the ignore file it stands on, from 1; absent for patterns from elsewhere.
        line: Option<usize>,
    },
    /// A `!` with nothing behind it.
    #[error("illegal exclusion pattern: \"!\"")]
    EmptyException {
        /// The line of the ignore file, from 1.
        line: Option<usize>,
    },
    /// An escape that BuildKit takes for a regular-expression operator we do not have.
    #[error("unsupported escape `\\{escape}` in pattern `{}`", pattern.escape_ascii())]
    UnsupportedEscape {
        /// The pattern as it was written, cleaned.
        pattern: Vec<u8>,
        /// The character behind the backslash.
        escape: char,
        /// The line of the ignore file, from 1.
        line: Option<usize>,
    },
    /// A line longer than the reader accepts.
    #[error("line {line} is longer than {limit} bytes")]
    LineTooLong {
        /// The line, from 1.
        line: usize,
        /// The longest line accepted.
        limit: usize,
    },
}

impl Error {
    /// The line of the ignore file the error is about, from 1.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Syntax { line, .. }
            | Self::EmptyException { line }
            | Self::UnsupportedEscape { line, .. } => *line,
            Self::LineTooLong { line, .. } => Some(*line),
        }
    }

    fn at(mut self, number: Option<usize>) -> Self {
        match &mut self {
            Self::Syntax { line, .. }
            | Self::EmptyException { line }
            | Self::UnsupportedEscape { line, .. } => *line = number,
            Self::LineTooLong { .. } => {}
        }
        self
    }
}
