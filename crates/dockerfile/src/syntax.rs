//! The untyped layer: a file's lines as nodes, as BuildKit's own parser yields them.
//!
//! It joins continued lines, drops comments, takes flags off, splits arguments the way each
//! instruction wants it, and reads here-documents. Whether a name is an instruction, a flag is
//! known or an argument makes sense is not asked here. Most callers want [`crate::parse`].

use std::collections::BTreeSet;

use crate::arguments::{self, FlagWord};
use crate::directive::{Directive, DirectiveReader};
use crate::error::{ParseError, ParseErrorKind, Phase};
use crate::heredoc;
use crate::instruction::Heredoc;
use crate::json;
use crate::lines::{LineReader, LogicalLine, is_comment, trim_newline};
use crate::span::Span;
use crate::text::is_space;

/// How deep `ONBUILD ONBUILD …` is looked into; a second one is an error anyway.
const NESTING_LIMIT: usize = 8;

/// Every instruction's name, in lower case and in order.
pub(crate) const NAMES: &[&str] = &[
    "add",
    "arg",
    "cmd",
    "copy",
    "entrypoint",
    "env",
    "expose",
    "from",
    "healthcheck",
    "label",
    "maintainer",
    "onbuild",
    "run",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];

/// A file's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syntax {
    /// One node for each instruction, in order.
    pub nodes: Vec<Node>,
    /// The escape character in force.
    pub escape: char,
    /// The directives at the top.
    pub directives: Vec<Directive>,
    /// What is wrong, in order. BuildKit stops at the first.
    pub errors: Vec<ParseError>,
}

/// One instruction's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The first word.
    pub command: String,
    /// The text, continued lines joined, without bodies of here-documents.
    pub line: LogicalLine,
    /// The flags before the arguments.
    pub flags: Vec<FlagWord>,
    /// The arguments.
    pub args: Vec<String>,
    /// The instruction inside an `ONBUILD`.
    pub child: Option<Box<Node>>,
    /// Whether the arguments were a JSON array.
    pub json: bool,
    /// The here-documents.
    pub heredocs: Vec<Heredoc>,
    /// The comments directly above.
    pub comments: Vec<String>,
    /// Its lines, here-documents included.
    pub span: Span,
}

/// Reads a file into nodes.
#[must_use]
pub fn read(text: &[u8]) -> Syntax {
    read_with_escape(text, '\\')
}

pub(crate) fn read_with_escape(bytes: &[u8], escape: char) -> Syntax {
    let (text, invalid) = decode(bytes);
    let mut reader = Reader {
        lines: LineReader::new(&text),
        syntax: Syntax { nodes: Vec::new(), escape, directives: Vec::new(), errors: Vec::new() },
        directives: DirectiveReader::default(),
        comments: Vec::new(),
        invalid,
    };
    while let Some(raw) = reader.lines.next() {
        reader.line(raw);
    }
    reader.finish()
}

/// The text, and the lines that are not valid UTF-8.
fn decode(bytes: &[u8]) -> (std::borrow::Cow<'_, str>, BTreeSet<u32>) {
    let mut invalid = BTreeSet::new();
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.into(), invalid);
    }
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        if std::str::from_utf8(line).is_err() {
            invalid.insert(number);
        }
    }
    (String::from_utf8_lossy(bytes), invalid)
}

struct Reader<'a> {
    lines: LineReader<'a>,
    syntax: Syntax,
    directives: DirectiveReader,
    comments: Vec<String>,
    /// Lines that are not valid UTF-8 and not comments.
    invalid: BTreeSet<u32>,
}

impl<'a> Reader<'a> {
    fn error(&mut self, kind: ParseErrorKind, span: Span) {
        let phase = Phase::Syntax;
        self.syntax.errors.push(ParseError { kind, phase, suggestion: None, span });
    }

    /// A physical line that no instruction has begun before.
    fn line(&mut self, raw: &'a str) {
        let number = self.lines.number();
        let line = trim_newline(raw);
        let text = line.trim_start_matches(is_space);
        if text.is_empty() {
            self.comments.clear();
        } else if text.starts_with('#') {
            self.invalid.remove(&number);
            // BuildKit cuts off the line's first character, which is the `#` or a blank before it.
            let mut comment = line.chars();
            comment.next();
            match comment.as_str().trim() {
                "" => self.comments.clear(),
                comment => self.comments.push(comment.to_owned()),
            }
        }
        let width = u32::try_from(line.len()).unwrap_or(u32::MAX);
        match self.directives.read(text, number, "#") {
            Ok(Some(directive)) => {
                self.comments.pop();
                self.directive(directive, width);
            }
            Ok(None) => {}
            Err(kind) => self.error(kind, Span::of_lines(number, number, width + 1)),
        }
        if !text.is_empty() && !text.starts_with('#') {
            self.instruction(line, line.len() - text.len());
        }
    }

    fn directive(&mut self, directive: Directive, width: u32) {
        if directive.name == "escape" {
            match directive.value.as_str() {
                "\\" => self.syntax.escape = '\\',
                "`" => self.syntax.escape = '`',
                other => {
                    let kind = ParseErrorKind::InvalidEscape(other.to_owned());
                    let span = Span::of_lines(directive.line, directive.line, width + 1);
                    self.error(kind, span);
                }
            }
        }
        self.syntax.directives.push(directive);
    }

    /// An instruction whose first line is `first`, indented by so many bytes.
    fn instruction(&mut self, first: &'a str, indent: usize) {
        let start = self.lines.number();
        let mut line = LogicalLine::new();
        let mut continued = line.push(&first[indent..], start, indent, self.syntax.escape);
        let mut blank = false;
        let mut last = first;
        while continued {
            let Some(raw) = self.lines.next() else { break };
            let next = trim_newline(raw);
            last = next;
            if is_comment(next) {
                self.invalid.remove(&self.lines.number());
            } else if next.trim_start_matches(is_space).is_empty() {
                blank = true;
            } else {
                continued = line.push(next, self.lines.number(), 0, self.syntax.escape);
            }
        }
        if blank {
            line.empty_continuation = Some(self.lines.number());
        }
        let width = |line: &str| u32::try_from(line.len() + 1).unwrap_or(u32::MAX);
        let span = Span::of_lines(start, self.lines.number(), width(last));
        let comments = std::mem::take(&mut self.comments);
        match node(line, self.syntax.escape, 0) {
            Ok(mut node) => {
                node.comments = comments;
                node.span = span;
                if let Err(kind) = self.heredocs(&mut node) {
                    let span = Span { end: Span::of_lines(1, self.lines.number(), 1).end, ..span };
                    return self.error(kind, span);
                }
                self.syntax.nodes.push(node);
            }
            Err(kind) => self.error(kind, span),
        }
    }

    fn heredocs(&mut self, node: &mut Node) -> Result<(), ParseErrorKind> {
        if !node.may_hold_heredocs() || !node.line.text.contains("<<") {
            return Ok(());
        }
        for mut heredoc in heredoc::find(&node.line.text)? {
            let body = self.lines.rest();
            loop {
                let at = body.len() - self.lines.rest().len();
                let Some(raw) = self.lines.next() else {
                    return Err(ParseErrorKind::UnterminatedHeredoc(heredoc.name));
                };
                let line = trim_newline(raw);
                let line = if heredoc.chomp { line.trim_start_matches('\t') } else { line };
                if line == heredoc.name {
                    heredoc.content = body[..at].to_owned();
                    node.span.end.line = self.lines.number();
                    node.span.end.column = u32::try_from(raw.len() + 1).unwrap_or(u32::MAX);
                    break;
                }
            }
            node.heredocs.push(heredoc);
        }
        Ok(())
    }

    fn finish(mut self) -> Syntax {
        let last = self.lines.number();
        for number in std::mem::take(&mut self.invalid) {
            if number <= last {
                self.error(ParseErrorKind::NotUtf8, Span::of_lines(number, number, 1));
            }
        }
        if self.lines.too_long() {
            self.error(ParseErrorKind::LineTooLong, Span::of_lines(last + 1, last + 1, 1));
        } else if self.syntax.nodes.is_empty() && self.syntax.errors.is_empty() {
            self.error(ParseErrorKind::NoInstructions, Span::of_lines(last, last, 1));
        }
        self.syntax
    }
}

impl Node {
    /// The instruction's name in lower case, if it is one.
    pub(crate) fn name(&self) -> Option<&'static str> {
        NAMES.iter().copied().find(|name| self.command.eq_ignore_ascii_case(name))
    }

    fn may_hold_heredocs(&self) -> bool {
        let node = self.child.as_deref().unwrap_or(self);
        !node.json && matches!(node.name(), Some("run" | "copy" | "add"))
    }
}

/// Splits one instruction's text.
fn node(line: LogicalLine, escape: char, depth: usize) -> Result<Node, ParseErrorKind> {
    let text = line.text.trim_end_matches(is_space);
    let start = text.len() - text.trim_start_matches(is_space).len();
    let (command, flags, rest) = match arguments::split_blank(&text[start..]) {
        Some((command, rest)) => {
            let (flags, rest) = arguments::take_flags(text, text.len() - rest.len(), escape);
            (command.to_owned(), flags, rest)
        }
        None => (text[start..].to_owned(), Vec::new(), text.len()),
    };
    let mut node = Node {
        command,
        line: LogicalLine::new(),
        flags,
        args: Vec::new(),
        child: None,
        json: false,
        heredocs: Vec::new(),
        comments: Vec::new(),
        span: Span::of_lines(0, 0, 0),
    };
    let rest = text[rest..].trim_start_matches(is_space);
    node.read_arguments(rest, escape, depth)?;
    node.line = line;
    Ok(node)
}

impl Node {
    fn read_arguments(
        &mut self,
        rest: &str,
        escape: char,
        depth: usize,
    ) -> Result<(), ParseErrorKind> {
        match self.name().unwrap_or_default() {
            "add" | "copy" | "volume" => {
                if !self.read_json(rest)? {
                    self.args = arguments::plain_words(rest);
                }
            }
            "cmd" | "entrypoint" | "run" | "shell" => self.read_json_or_text(rest)?,
            "expose" | "from" => self.args = arguments::plain_words(rest),
            "maintainer" | "stopsignal" | "user" | "workdir" => {
                if !rest.is_empty() {
                    self.args = vec![rest.to_owned()];
                }
            }
            "arg" => self.args = arguments::quoted_words(rest, escape),
            "env" => self.args = pairs(rest, "ENV", escape)?,
            "label" => self.args = pairs(rest, "LABEL", escape)?,
            "healthcheck" => {
                let is_space = |c: char| matches!(c, '\t'..='\r' | ' ');
                let (kind, command) = rest.split_at(rest.find(is_space).unwrap_or(rest.len()));
                if !kind.is_empty() {
                    self.read_json_or_text(command.trim_start_matches(is_space))?;
                    self.args.insert(0, kind.to_owned());
                }
            }
            "onbuild" => {
                if !rest.is_empty() && depth < NESTING_LIMIT {
                    let line = LogicalLine::of_text(rest);
                    self.child = Some(Box::new(node(line, escape, depth + 1)?));
                }
            }
            _ => self.args = vec![String::new()],
        }
        Ok(())
    }

    /// Reads a JSON array; whether it was one.
    fn read_json(&mut self, text: &str) -> Result<bool, ParseErrorKind> {
        match json::string_array(text) {
            None => Ok(false),
            Some(Err(json::NotStrings)) => Err(ParseErrorKind::NotStringArray),
            Some(Ok(strings)) => {
                self.args = strings;
                self.json = true;
                Ok(true)
            }
        }
    }

    fn read_json_or_text(&mut self, text: &str) -> Result<(), ParseErrorKind> {
        if !self.read_json(text)? && !text.is_empty() {
            self.args = vec![text.to_owned()];
        }
        Ok(())
    }
}

/// Key, value and what stood between them (`=` or nothing) of each pair.
fn pairs(text: &str, name: &'static str, escape: char) -> Result<Vec<String>, ParseErrorKind> {
    let words = arguments::quoted_words(text, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.contains('=') {
        let (key, value) =
            arguments::split_blank(text).ok_or(ParseErrorKind::TwoArguments(name))?;
        return Ok([key, value, ""].map(str::to_owned).into());
    }
    let mut args = Vec::with_capacity(words.len() * 3);
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            return Err(ParseErrorKind::NoEquals(word));
        };
        args.extend([key, value, "="].map(str::to_owned));
    }
    Ok(args)
}
