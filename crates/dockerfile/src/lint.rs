//! BuildKit's build checks: rules with their names, texts and addresses.
//!
//! [`lint`] finds what the text alone tells. Rules that need values or images are constructors of
//! [`Warning`] which the planner calls.

use crate::{Dockerfile, Span};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The rule.
    pub rule: Rule,
    /// What was found, e.g. `Stage name 'A' should be lowercase`.
    pub detail: String,
    /// Where.
    pub span: Span,
}

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// `StageNameCasing`
    StageNameCasing,
    /// `UndefinedVar`
    UndefinedVar,
}

/// What the file's `check` directive or the caller asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LintOptions {
    /// Rules not reported.
    pub skip: Vec<String>,
    /// No rule is reported.
    pub skip_all: bool,
    /// Any finding fails the build.
    pub error: bool,
    /// Experimental rules to report.
    pub experimental: Vec<String>,
    /// All experimental rules are reported.
    pub experimental_all: bool,
}

/// Findings that the text alone tells, in file order, the file's own options applied by
/// [`LintOptions::keeps`].
#[must_use]
pub fn lint(file: &Dockerfile, options: &LintOptions) -> Vec<Warning> {
    let _ = (file, options);
    todo!()
}

impl LintOptions {
    /// Whether `warning` is reported.
    #[must_use]
    pub fn keeps(&self, rule: Rule) -> bool {
        let _ = rule;
        todo!()
    }
}
