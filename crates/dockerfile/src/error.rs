//! What can be wrong with a Dockerfile's text, in BuildKit's wording.

use crate::Span;

/// One error with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// BuildKit's words.
    pub message: String,
    /// The lines it concerns.
    pub span: Span,
}
