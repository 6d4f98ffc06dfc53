//! BuildKit's build checks: its rules with their names, texts and addresses.
//!
//! [`lint`] finds what the text alone tells. What needs values, base images or the ignore file the
//! planner finds; it makes the [`Warning`] with the function of the rule's name here, and asks
//! [`LintOptions`] whether to report it. [`Rule::from_text`] says who finds what.
//!
//! Unlike BuildKit, stages that the target does not need are looked at as well.

mod file;
mod options;
mod rule;

use std::collections::BTreeSet;

pub use file::lint;
pub use options::{LintOptions, LintOptionsError};
pub use rule::Rule;

use crate::error::suggest;
use crate::text::quote;
use crate::{Span, Statement};

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

/// As BuildKit's short form: rule, detail, line.
impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rule, detail, span } = self;
        write!(f, "{rule}: {detail} (line {})", span.start.line)
    }
}

/// Variables that may be used without a declaration.
const NEVER_UNDEFINED: &[&str] = &["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// With the nearest of `names` appended.
fn with_suggestion(text: String, name: &str, names: &[&str], sigil: &str) -> String {
    match suggest(name, names) {
        Some(found) => format!("{text} (did you mean {sigil}{found}?)"),
        None => text,
    }
}

impl Warning {
    fn new(rule: Rule, span: Span, detail: String) -> Self {
        Self { rule, detail, span }
    }

    /// `UndefinedVar`: `unmatched` are the variables an instruction used that are not set,
    /// `declared` those that an `ARG` names without giving a value, `names` those that are set.
    #[must_use]
    pub fn undefined_vars(
        unmatched: &BTreeSet<String>,
        declared: &[&str],
        names: &[&str],
        span: Span,
    ) -> Vec<Self> {
        unmatched
            .iter()
            .filter(|name| !declared.contains(&name.as_str()))
            .filter(|name| !NEVER_UNDEFINED.contains(&name.as_str()))
            .map(|name| {
                let text = format!("Usage of undefined variable '${name}'");
                Self::new(Rule::UndefinedVar, span, with_suggestion(text, name, names, "$"))
            })
            .collect()
    }

    /// `UndefinedArgInFrom`: `unmatched` are the variables a `FROM` used that are not set,
    /// `declared` the names of all global arguments.
    #[must_use]
    pub fn undefined_args_in_from(
        unmatched: &BTreeSet<String>,
        declared: &[&str],
        span: Span,
    ) -> Vec<Self> {
        unmatched
            .iter()
            .filter(|name| !declared.contains(&name.as_str()))
            .map(|name| {
                let text = format!("FROM argument '{name}' is not declared");
                Self::new(Rule::UndefinedArgInFrom, span, with_suggestion(text, name, declared, ""))
            })
            .collect()
    }

    /// `JSONArgsRecommended`: a `CMD` or `ENTRYPOINT` in shell form where no `SHELL` is set.
    #[must_use]
    pub fn json_args_recommended(statement: &Statement) -> Self {
        let detail = format!(
            "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
            statement.keyword
        );
        Self::new(Rule::JsonArgsRecommended, statement.span, detail)
    }

    /// `WorkdirRelativePath`: the first `WORKDIR` of a stage is relative.
    #[must_use]
    pub fn workdir_relative_path(path: &str, span: Span) -> Self {
        let detail = format!(
            "Relative workdir {} can have unexpected results if the base image changes",
            quote(path)
        );
        Self::new(Rule::WorkdirRelativePath, span, detail)
    }

    /// `InvalidBaseImagePlatform`
    #[must_use]
    pub fn invalid_base_image_platform(
        image: &str,
        actual: &str,
        expected: &str,
        span: Span,
    ) -> Self {
        let (actual, expected) = (quote(actual), quote(expected));
        let detail = format!(
            "Base image {image} was pulled with platform {actual}, \
             expected {expected} for current build"
        );
        Self::new(Rule::InvalidBaseImagePlatform, span, detail)
    }

    /// `RedundantTargetPlatform`: `written` is the flag's value, e.g. `$TARGETPLATFORM`.
    #[must_use]
    pub fn redundant_target_platform(written: &str, span: Span) -> Self {
        let detail = format!(
            "Setting platform to predefined {written} in FROM is redundant as this is the default \
             behavior"
        );
        Self::new(Rule::RedundantTargetPlatform, span, detail)
    }

    /// `FromPlatformFlagConstDisallowed`
    #[must_use]
    pub fn from_platform_const(platform: &str, span: Span) -> Self {
        let detail =
            format!("FROM --platform flag should not use constant value {}", quote(platform));
        Self::new(Rule::FromPlatformFlagConstDisallowed, span, detail)
    }

    /// `InvalidDefaultArgInFrom`: `written` is the image of the `FROM` as it stands there.
    #[must_use]
    pub fn invalid_default_arg_in_from(written: &str, span: Span) -> Self {
        let detail =
            format!("Default value for ARG {written} results in empty or invalid base image name");
        Self::new(Rule::InvalidDefaultArgInFrom, span, detail)
    }

    /// `CopyIgnoredFile`: `verb` is `Copy` or `Add`.
    #[must_use]
    pub fn copy_ignored_file(verb: &str, path: &str, span: Span) -> Self {
        let path = quote(path);
        let detail = format!("Attempting to {verb} file {path} that is excluded by .dockerignore");
        Self::new(Rule::CopyIgnoredFile, span, detail)
    }

    /// `ExposeProtoCasing`: `port` is an expanded word.
    #[must_use]
    pub fn expose_proto_casing(port: &str, span: Span) -> Self {
        let detail = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
        Self::new(Rule::ExposeProtoCasing, span, detail)
    }

    /// `ExposeInvalidFormat`: `port` is an expanded word.
    #[must_use]
    pub fn expose_invalid_format(port: &str, span: Span) -> Self {
        let detail = format!(
            "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
        );
        Self::new(Rule::ExposeInvalidFormat, span, detail)
    }
}
