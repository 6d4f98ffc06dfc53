//! `check=skip=…;error=…;experimental=…`: which findings are reported, and whether they fail the
//! build.

use std::collections::BTreeSet;

use super::{Rule, Warning};
use crate::text::{parse_bool, quote};
use crate::{Dockerfile, Statement, directive};

/// What a file's `check` directive, a comment or the caller asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LintOptions {
    /// Rules not reported. A name that is no rule does nothing.
    pub skip: Vec<String>,
    /// No rule is reported, but experimental ones that are asked for.
    pub skip_all: bool,
    /// Any finding fails the build.
    pub error: bool,
    /// Experimental rules to report.
    pub experimental: Vec<String>,
    /// All experimental rules are reported.
    pub experimental_all: bool,
}

/// Options that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message is the documentation")]
pub enum LintOptionsError {
    #[error("failed to parse check options: invalid check option {}", quote(.0))]
    Unknown(String),
    #[error(
        "failed to parse check options: failed to parse check option {}: \
         strconv.ParseBool: parsing {}: invalid syntax",
        quote(.option),
        quote(.value)
    )]
    NotBoolean { option: String, value: String },
}

impl LintOptions {
    /// Reads `skip=A,B;error=true;experimental=all`.
    ///
    /// # Errors
    /// In BuildKit's wording.
    pub fn parse(text: &str) -> Result<Self, LintOptionsError> {
        let mut options = Self::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(options);
        }
        for part in text.splitn(3, ';') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(LintOptionsError::Unknown(part.to_owned()));
            };
            let value = value.trim();
            let names = || value.split(',').map(|name| name.trim().to_owned()).collect();
            match (key.trim(), value) {
                ("skip", "all") => options.skip_all = true,
                ("skip", _) => options.skip = names(),
                ("experimental", "all") => options.experimental_all = true,
                ("experimental", _) => options.experimental = names(),
                ("error", _) => {
                    options.error =
                        parse_bool(value).ok_or_else(|| LintOptionsError::NotBoolean {
                            option: part.to_owned(),
                            value: value.to_owned(),
                        })?;
                }
                (key, _) => return Err(LintOptionsError::Unknown(key.to_owned())),
            }
        }
        Ok(options)
    }

    /// The options of a file: those of the build argument `BUILDKIT_DOCKERFILE_CHECK` if it is
    /// given, else those of its directive.
    ///
    /// # Errors
    /// As [`LintOptions::parse`].
    pub fn of(file: &Dockerfile, build_arg: Option<&str>) -> Result<Self, LintOptionsError> {
        if let Some(text) = build_arg {
            return Self::parse(text);
        }
        let directive = file.directives.iter().find(|directive| directive.name == "check");
        Self::parse(directive.map_or("", |directive| first_word(&directive.value)))
    }

    /// The options for one instruction: a comment `# check=…` directly above it adds to them. One
    /// that cannot be read does nothing.
    #[must_use]
    pub fn for_statement(&self, statement: &Statement) -> Self {
        let mut options = self.clone();
        let found = statement.comments.iter().find_map(|comment| {
            directive::split(comment).filter(|(name, _)| name == "check").map(|(_, value)| value)
        });
        if let Some(more) = found.and_then(|value| Self::parse(first_word(value)).ok()) {
            options.skip.extend(more.skip);
            options.experimental.extend(more.experimental);
            options.skip_all |= more.skip_all;
            options.error |= more.error;
            options.experimental_all |= more.experimental_all;
        }
        options
    }

    /// Whether findings of `rule` are reported.
    #[must_use]
    pub fn keeps(&self, rule: Rule) -> bool {
        let names = |list: &[String]| list.iter().any(|name| name == rule.name());
        if rule.is_experimental() {
            self.experimental_all || names(&self.experimental)
        } else {
            !self.skip_all && !names(&self.skip)
        }
    }

    /// Drops what is not to be reported, what comments above instructions say included.
    pub fn filter(&self, file: &Dockerfile, warnings: &mut Vec<Warning>) {
        if warnings.is_empty() {
            return;
        }
        // Only instructions with such a comment have options of their own.
        let own: Vec<_> = file
            .statements()
            .filter(|statement| statement.comments.iter().any(|comment| comment.contains("check")))
            .map(|statement| (statement.span.lines(), self.for_statement(statement)))
            .collect();
        warnings.retain(|warning| {
            let line = warning.span.start.line;
            let after = own.partition_point(|(lines, _)| *lines.start() <= line);
            let found = own[..after].last().filter(|(lines, _)| lines.contains(&line));
            found.map_or(self, |(_, options)| options).keeps(warning.rule)
        });
    }

    /// The rules that were broken, if that fails the build:
    /// `lint violation found for rules: …`.
    #[must_use]
    pub fn violation(&self, warnings: &[Warning]) -> Option<String> {
        if !self.error || warnings.is_empty() {
            return None;
        }
        let rules: BTreeSet<_> = warnings.iter().map(|warning| warning.rule.name()).collect();
        Some(rules.into_iter().collect::<Vec<_>>().join(", "))
    }
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::LintOptions;
    use crate::lint::Rule;

    #[test]
    fn reads_options() {
        let check = |text: &str, expected: &str| {
            let got = match LintOptions::parse(text) {
                Ok(options) => {
                    let kept = Rule::ALL.iter().filter(|rule| options.keeps(**rule)).count();
                    format!("{kept} {}", options.error)
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(got, expected, "{text}");
        };
        check("", "21 false");
        check("skip=all", "0 false");
        check("skip=StageNameCasing, FromAsCasing;error=T", "19 true");
        check("experimental=all;skip=all", "1 false");
        check("experimental=InvalidDefinitionDescription", "22 false");
        check("skip=InvalidDefinitionDescription;experimental=all", "22 false");
        check("foo", "failed to parse check options: invalid check option \"foo\"");
        check("foo=x", "failed to parse check options: invalid check option \"foo\"");
        check("skip=all;", "failed to parse check options: invalid check option \"\"");
        check(
            "error=x",
            "failed to parse check options: failed to parse check option \"error=x\": \
             strconv.ParseBool: parsing \"x\": invalid syntax",
        );
    }
}
