//! What can be wrong with a Dockerfile's text, in BuildKit's wording.
//!
//! The wording is a contract: users search for it. Advice that BuildKit does not give is in
//! [`ParseError::hint`].

use std::ops::RangeInclusive;

use crate::Span;
use crate::mount::MountError;
use crate::text::quote;

/// One error with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// When it was noticed; decides how it is worded.
    pub phase: Phase,
    /// The nearest name that would have been right.
    pub suggestion: Option<String>,
    /// The lines it concerns.
    pub span: Span,
}

/// When an error was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading lines and words. BuildKit stops here before it looks at any instruction.
    Syntax,
    /// Making an instruction of a line. BuildKit writes the line's number into the message.
    Instruction,
    /// Sorting instructions into stages.
    Structure,
    /// Reading an `ONBUILD` trigger, whose text may come from a base image.
    Trigger,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.phase == Phase::Instruction {
            write!(f, "dockerfile parse error on line {}: ", self.span.start.line)?;
        }
        write!(f, "{}", self.kind)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " (did you mean {suggestion}?)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ParseError {}

impl ParseError {
    /// The lines BuildKit names. They are those of the span but where it counts a line only after
    /// it has read it, and so names the one before.
    #[must_use]
    pub fn buildkit_lines(&self) -> RangeInclusive<u32> {
        let lines = self.span.lines();
        match self.kind {
            ParseErrorKind::DuplicateDirective(_)
            | ParseErrorKind::InvalidEscape(_)
            | ParseErrorKind::LineTooLong => lines.start() - 1..=lines.end() - 1,
            _ => lines,
        }
    }

    /// What to do about it, where that is not plain.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match &self.kind {
            ParseErrorKind::UnterminatedHeredoc(name) => Some(format!(
                "`<<` begins a here-document that ends at a line holding only `{name}`; \
                 if none is meant, quote it or write no blank before `<<`"
            )),
            ParseErrorKind::SplitHeredoc(_) => Some(
                "write a here-document as one word, `<<EOF` or `<<'EOF'`, outside of quotes"
                    .to_owned(),
            ),
            ParseErrorKind::NoEquals(word) if word.ends_with('}') => {
                Some("words are split at blanks before `${…}` is read; quote the value".to_owned())
            }
            ParseErrorKind::FromArguments => {
                Some("write `FROM image` or `FROM image AS name`; blanks in `${…}` split it".into())
            }
            ParseErrorKind::NotUtf8 => Some("convert the file to UTF-8".to_owned()),
            _ => None,
        }
    }
}

/// The kinds of errors. Names in messages are those of instructions in upper case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message is the documentation")]
pub enum ParseErrorKind {
    #[error("the Dockerfile cannot be empty")]
    EmptyFile,
    #[error("file with no instructions")]
    NoInstructions,
    #[error("dockerfile line greater than max allowed size of 65535")]
    LineTooLong,
    /// BuildKit accepts any bytes and passes them on. Only comments may hold them here.
    #[error("line is not valid UTF-8")]
    NotUtf8,
    #[error("only one {0} parser directive can be used")]
    DuplicateDirective(String),
    #[error("invalid escape token '{0}' does not match ` or \\")]
    InvalidEscape(String),
    #[error("unterminated heredoc")]
    UnterminatedHeredoc(String),
    #[error("{0}")]
    HeredocWord(#[from] crate::word::WordError),
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStringArray,
    #[error("{0} must have two arguments")]
    TwoArguments(&'static str),
    #[error("Syntax error - can't find = in {}. Must be of the form: name=value", quote(.0))]
    NoEquals(String),
    #[error("no build stage in current context")]
    NoStage,
    #[error("unknown instruction: {0}")]
    UnknownInstruction(String),
    #[error("{0} requires at least one argument")]
    AtLeastOneArgument(&'static str),
    #[error("{0} requires exactly one argument")]
    ExactlyOneArgument(&'static str),
    #[error(
        "{0} requires at least two arguments, but only one was provided. \
         Destination could not be determined"
    )]
    NoDestination(&'static str),
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    #[error(
        "invalid name for build stage: {}, name can't start with a number or contain symbols",
        quote(.0)
    )]
    InvalidStageName(String),
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    #[error("{0} cannot accept a heredoc as a destination")]
    HeredocDestination(&'static str),
    /// BuildKit takes such words for file names, or makes an empty file.
    #[error("{0} has a heredoc that blanks or quotes split")]
    SplitHeredoc(&'static str),
    #[error("{0} requires the arguments to be in JSON form")]
    NotJson(&'static str),
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    ChainedOnBuild,
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    ForbiddenTrigger(&'static str),
    #[error("onbuild trigger should be a single expression")]
    NotOneTrigger,
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNoneArguments,
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckNoCommand,
    #[error("Unknown type {} in HEALTHCHECK (try CMD)", quote(.0))]
    HealthcheckType(String),
    #[error("Interval {} cannot be less than 1ms", quote(.0))]
    IntervalTooShort(&'static str),
    #[error("{0}")]
    Duration(String),
    #[error("{0}")]
    Number(String),
    #[error("--retries cannot be negative ({0})")]
    NegativeRetries(i64),
    #[error("unknown flag: --{0}")]
    UnknownFlag(String),
    #[error("missing a value on flag: --{0}")]
    MissingFlagValue(String),
    #[error("duplicate flag specified: --{0}")]
    DuplicateFlag(String),
    #[error("expecting boolean value for flag --{0}, not: {1}")]
    NotBoolean(String, String),
    #[error("invalid network mode {}", quote(.0))]
    InvalidNetwork(String),
    #[error("security {} is not valid", quote(.0))]
    InvalidSecurity(String),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("failed to parse csv devices: {0}")]
    DeviceCsv(String),
    #[error("invalid field '{0}' must be a key=value pair")]
    DeviceField(String),
    #[error("device name already set to {0}")]
    DeviceName(String),
    #[error("invalid value for {0}: {1}")]
    DeviceValue(String, String),
    #[error("unexpected key '{0}' in '{1}'")]
    DeviceKey(String, String),
}

/// The nearest of `options` to `value`, as BuildKit suggests it: at most two edits away, the
/// alphabetically first of equals, nothing for what is one of them.
#[must_use]
pub fn suggest<O: AsRef<str>>(value: &str, options: impl IntoIterator<Item = O>) -> Option<String> {
    let value: Vec<char> = value.chars().collect();
    let mut best: Option<(usize, String)> = None;
    for option in options {
        let letters: Vec<char> = option.as_ref().chars().collect();
        if letters.len().abs_diff(value.len()) > 2 {
            continue;
        }
        let distance = distance(&value, &letters);
        if distance == 0 {
            return None;
        }
        let found = (distance, option.as_ref().to_owned());
        if distance < 3 && best.as_ref().is_none_or(|best| found < *best) {
            best = Some(found);
        }
    }
    best.map(|(_, option)| option)
}

/// As [`suggest`] in any case; the suggestion takes the value's case. Options are lower-case.
pub(crate) fn suggest_in_case(value: &str, options: &[&str]) -> Option<String> {
    let upper = value == value.to_uppercase() && value != value.to_lowercase();
    let found = suggest(&value.to_lowercase(), options)?;
    Some(if upper { found.to_uppercase() } else { found })
}

/// The Levenshtein distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{suggest, suggest_in_case};

    #[test]
    fn suggests_what_is_near() {
        let check = |value: &str, options: &[&str], expected: Option<&str>| {
            assert_eq!(suggest_in_case(value, options).as_deref(), expected, "{value}");
        };
        let names = ["add", "arg", "copy", "from", "run"];
        check("COPPY", &names, Some("COPY"));
        check("foo", &names, Some("from"));
        check("Frm", &names, Some("from"));
        check("", &names, None);
        check("[\"a\"]", &names, None);
        check("add", &names, None);
        assert_eq!(suggest("ab", ["ad", "ac"]).as_deref(), Some("ac"));
        assert_eq!(suggest("chwon", ["chown", "chmod"]).as_deref(), Some("chmod"));
        assert_eq!(suggest("", ["ab", "abc"]).as_deref(), Some("ab"));
        assert_eq!(suggest("builder", ["builder", "builded"]), None);
    }
}
