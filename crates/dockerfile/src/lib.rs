//! Dockerfile text to a spanned syntax tree; expansion of words; lint.
//!
//! It does not resolve stages, does not open files and expands nothing by itself: what a word
//! means depends on the stage it stands in, which the planner knows. Everything follows BuildKit's
//! newest frontend, deviations are named where they are made.
//!
//! Read [`parse`] and [`Dockerfile`] first, then [`Instruction`] and [`word`].
#![forbid(unsafe_code)]

mod arguments;
mod build;
mod csv;
mod device;
pub mod directive;
mod duration;
mod error;
mod flags;
mod heredoc;
mod instruction;
mod json;
mod lines;
pub mod lint;
mod mount;
mod print;
mod span;
pub mod syntax;
mod text;
pub mod word;

pub use directive::{Directive, detect_syntax};
pub use error::{ParseError, ParseErrorKind, Phase, suggest};
pub use instruction::{
    Add, Arg, ArgDefinition, CommandLine, Copy, Device, From, Healthcheck, HealthcheckCommand,
    Heredoc, Instruction, Network, OnBuild, Pairs, Run, Security, Transfer,
};
pub use mount::{Mount, MountError, MountFlag, MountKind, Sharing};
pub use print::print;
pub use span::{Location, Span};
pub use text::quote;

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

impl Dockerfile {
    /// Every instruction, in file order.
    pub fn statements(&self) -> impl Iterator<Item = &Statement> {
        let stages = &self.stages;
        self.global_args.iter().chain(
            stages.iter().flat_map(|stage| std::iter::once(&stage.from).chain(&stage.statements)),
        )
    }
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
    /// The line after which a blank line was noticed among continued ones.
    pub empty_continuation: Option<u32>,
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
    let syntax = syntax::read(text);
    let mut errors = syntax.errors;
    if text.is_empty() {
        errors.iter_mut().for_each(|error| error.kind = ParseErrorKind::EmptyFile);
    }
    let mut file = Dockerfile {
        escape: syntax.escape,
        directives: syntax.directives,
        global_args: Vec::new(),
        stages: Vec::new(),
    };
    // After a broken FROM the rest still has a stage, only not one that is known.
    let mut broken_stage = false;
    for node in syntax.nodes {
        let is_from = node.command.eq_ignore_ascii_case("FROM");
        let statement = match statement(node, Phase::Instruction) {
            Ok(statement) => statement,
            Err(error) => {
                errors.push(error);
                broken_stage |= is_from;
                continue;
            }
        };
        match (&statement.instruction, file.stages.last_mut()) {
            (Instruction::From(_), _) => {
                file.stages.push(Stage { from: statement, statements: Vec::new() });
            }
            (_, Some(stage)) => stage.statements.push(statement),
            (Instruction::Arg(_), None) => file.global_args.push(statement),
            (_, None) if broken_stage => {}
            (_, None) => {
                let kind = ParseErrorKind::NoStage;
                let (phase, span) = (Phase::Structure, statement.span);
                errors.push(ParseError { kind, phase, suggestion: None, span });
            }
        }
    }
    if errors.is_empty() { Ok(file) } else { Err(errors) }
}

/// Parses an `ONBUILD` trigger as an image stores it. BuildKit reads triggers with `\` as the
/// escape, whatever the file says in which they are stored or fire.
///
/// # Errors
/// As [`parse`], and for more or less than one instruction.
pub fn parse_trigger(text: &str, escape: char) -> Result<Statement, ParseError> {
    let syntax = syntax::read_with_escape(text.as_bytes(), escape);
    let fail = |kind, span| Err(ParseError { kind, phase: Phase::Trigger, suggestion: None, span });
    if let Some(error) = syntax.errors.into_iter().next() {
        return Err(ParseError { phase: Phase::Trigger, ..error });
    }
    let mut nodes = syntax.nodes.into_iter();
    let (Some(node), None) = (nodes.next(), nodes.next()) else {
        return fail(ParseErrorKind::NotOneTrigger, Span::of_lines(1, 1, 1));
    };
    let statement = statement(node, Phase::Trigger)?;
    match statement.instruction {
        Instruction::From(_) => fail(ParseErrorKind::ForbiddenTrigger("FROM"), statement.span),
        _ => Ok(statement),
    }
}

fn statement(mut node: syntax::Node, phase: Phase) -> Result<Statement, ParseError> {
    let instruction = match build::instruction(&mut node) {
        Ok(instruction) => instruction,
        Err((kind, suggestion)) => {
            return Err(ParseError { kind, phase, suggestion, span: node.span });
        }
    };
    let flags = node
        .flags
        .iter()
        .map(|word| {
            let (name, value) = flags::split(&word.text);
            let span = node.line.span(&word.range);
            Flag { name: name.to_owned(), value: value.map(str::to_owned), span }
        })
        .collect();
    Ok(Statement {
        instruction,
        keyword: node.command,
        empty_continuation: node.line.empty_continuation,
        text: node.line.text,
        span: node.span,
        comments: node.comments,
        flags,
    })
}
