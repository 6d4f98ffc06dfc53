//! How a failure looks: headline, the Dockerfile's lines, the causes, a hint, the command's output.
//!
//! The headline is one bare line on standard error, as kaniko's; everything else follows it. The
//! only place that renders errors.

use std::error::Error as StdError;
use std::fmt::Write as _;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
    SourceSpan,
};

use crate::error::Error as UsageError;

/// A failure, as the person shall see it.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// What was being done: `error building image`. Stands before the error's own text.
    pub doing: &'a str,
    /// What failed, with its causes.
    pub error: &'a (dyn StdError + 'a),
    /// The lines of the Dockerfile it failed at.
    pub excerpt: Option<Excerpt<'a>>,
    /// What the person could do.
    pub hint: Option<&'a str>,
    /// The last lines the failing command wrote.
    pub output: &'a [String],
}

/// Lines of a file that are marked in a report.
#[derive(Debug, Clone, Copy)]
pub struct Excerpt<'a> {
    /// The name of the file.
    pub name: &'a str,
    /// Its whole text.
    pub text: &'a str,
    /// The first marked line, counted from 1.
    pub first_line: usize,
    /// The last marked line.
    pub last_line: usize,
}

/// Renders a report as text without colour.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    let mut text = report.doing.to_owned();
    let causes = causes(report.error);
    for message in &causes {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&one_line(message));
    }
    text.push('\n');
    if let Some(excerpt) = &report.excerpt {
        text.push_str(&render_excerpt(excerpt));
    }
    if causes.len() > 1 {
        for (index, message) in causes.iter().enumerate() {
            let lead = if index == 0 { "error" } else { "cause" };
            let _ = writeln!(text, "{lead}: {}", indented(message));
        }
    }
    if !report.output.is_empty() {
        let _ = writeln!(text, "last output of the command:");
        for line in report.output {
            let _ = writeln!(text, "  | {}", printable(line));
        }
    }
    if let Some(hint) = report.hint {
        let _ = writeln!(text, "hint: {}", indented(hint));
    }
    text
}

/// An error with its causes on one line, as the headline of a report has it.
#[must_use]
pub fn chain(error: &(dyn StdError + '_)) -> String {
    causes(error).iter().map(|message| one_line(message)).collect::<Vec<_>>().join(": ")
}

/// What an error and its causes say.
fn causes(error: &(dyn StdError + '_)) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // An error that only passes its cause on adds nothing.
        if causes.last() != Some(&message) {
            causes.push(message);
        }
        cause = error.source();
    }
    causes
}

/// Renders an unusable command line. The first line is kaniko's; the usage text, which hides it
/// there, is left out.
#[must_use]
pub fn usage_error(error: &UsageError) -> String {
    let mut text = format!("Error: {error}\n");
    if let Some(hint) = error.hint() {
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

/// A command's output as text: a terminal obeys nothing of what is told a second time.
fn printable(line: &str) -> String {
    let shown = |c: char| match c.is_control() && c != '\t' {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    line.chars().map(shown).collect()
}

/// Messages of several lines (a parser's, say) are told in full below; the headline stays one line.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

fn indented(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join("\n       ")
}

/// Lines of context shown around the marked ones.
const CONTEXT_LINES: usize = 2;
/// No more than this many marked lines are shown; a heredoc may have thousands.
const MARKED_LINES: usize = 12;

fn render_excerpt(excerpt: &Excerpt<'_>) -> String {
    let Some(marked) = Marked::new(excerpt) else { return String::new() };
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_context_lines(CONTEXT_LINES)
        .with_width(100);
    let mut text = String::new();
    if handler.render_report(&mut text, &marked).is_err() {
        return String::new();
    }
    // miette puts the message first; ours already stands above.
    let lines = text.lines().skip_while(|line| !line.contains('╭'));
    lines.fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// An excerpt as miette wants it.
#[derive(Debug)]
struct Marked {
    source: NamedSource<String>,
    spans: Vec<SourceSpan>,
}

impl Marked {
    fn new(excerpt: &Excerpt<'_>) -> Option<Self> {
        let last = excerpt.last_line.min(excerpt.first_line.saturating_add(MARKED_LINES - 1));
        let mut spans = Vec::new();
        let mut offset = 0;
        for (index, line) in excerpt.text.split_inclusive('\n').enumerate() {
            let number = index + 1;
            let content = line.trim_end();
            if (excerpt.first_line..=last).contains(&number) && !content.is_empty() {
                let indent = content.len() - content.trim_start().len();
                spans.push((offset + indent, content.len() - indent).into());
            }
            offset += line.len();
        }
        let source = NamedSource::new(excerpt.name, excerpt.text.to_owned());
        (!spans.is_empty()).then_some(Self { source, spans })
    }
}

impl std::fmt::Display for Marked {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("failed")
    }
}

impl StdError for Marked {}

impl Diagnostic for Marked {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.spans.iter().map(|span| LabeledSpan::new_with_span(None, *span))))
    }
}
