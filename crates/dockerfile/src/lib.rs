//! Dockerfile text to a spanned syntax tree; expansion of words; lint.
//!
//! It does not resolve stages, does not open files and expands nothing by itself: what a word
//! means depends on the stage it stands in, which the planner knows. Everything follows BuildKit's
//! newest frontend, deviations are named where they are made.
//!
//! Read [`parse`] and [`Dockerfile`] first, then [`Instruction`] and [`word`].
#![forbid(unsafe_code)]
#![allow(clippy::todo)]

mod error;
mod instruction;
pub mod lint;
mod mount;
mod span;
mod text;
pub mod word;

pub use error::ParseError;
pub use instruction::{
    Add, Arg, ArgDefinition, CommandLine, Copy, Device, From, Healthcheck, HealthcheckCommand,
    Heredoc, Instruction, Network, OnBuild, Pairs, Run, Security, Transfer,
};
pub use mount::{Mount, MountError, MountFlag, MountKind, Sharing};
pub use span::{Location, Span};

/// A Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character: `\` unless a directive says `` ` ``.
    pub escape: char,
    /// The directives at its top, in order.
    pub directives: Vec<Directive>,
    /// The `ARG` instructions before the first `FROM`.
    pub global_args: Vec<Statement>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
}

/// A parser directive: `# name=value` at the very top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// `syntax`, `escape` or `check`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Its line, from 1.
    pub line: u32,
}

/// A stage: `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The `FROM`.
    pub from: Statement,
    /// The instructions after it.
    pub statements: Vec<Statement>,
}

/// One instruction with its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it says.
    pub instruction: Instruction,
    /// The instruction's name as it was written.
    pub keyword: String,
    /// The text, continuation lines joined, bodies of here-documents left out.
    pub text: String,
    /// Its lines, here-documents included.
    pub span: Span,
    /// The comments directly above it, without `#`.
    pub comments: Vec<String>,
    /// The flags it was given, in order.
    pub flags: Vec<Flag>,
}

/// A flag with its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The name without `--`.
    pub name: String,
    /// The value after `=`, quotes removed, nothing expanded.
    pub value: Option<String>,
    /// Where it stands.
    pub span: Span,
}

/// Parses a whole Dockerfile.
///
/// # Errors
/// Every error found, the one that BuildKit would report first.
pub fn parse(text: &[u8]) -> Result<Dockerfile, Vec<ParseError>> {
    let _ = text;
    todo!()
}

/// Parses an `ONBUILD` trigger as an image stores it.
///
/// # Errors
/// As [`parse`], and for more or less than one instruction.
pub fn parse_trigger(text: &str, escape: char) -> Result<Statement, ParseError> {
    let _ = (text, escape);
    todo!()
}
