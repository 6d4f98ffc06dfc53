//! The rules that the text alone can break.

use std::collections::BTreeSet;

use super::{LintOptions, Rule, Warning};
use crate::word::{self, EmptyEnv};
use crate::{Dockerfile, Instruction, Span, Stage, Statement};

/// What the text alone tells, in the order of lines. What `options` or a comment above an
/// instruction exclude is left out.
#[must_use]
pub fn lint(file: &Dockerfile, options: &LintOptions) -> Vec<Warning> {
    let mut linter = Linter { file, warnings: Vec::new() };
    for statement in file.statements() {
        linter.statement(statement);
    }
    linter.stage_names();
    linter.casing();
    for stage in &file.stages {
        linter.stage(stage);
    }
    options.filter(file, &mut linter.warnings);
    linter.warnings.sort_by_key(|warning| (warning.span.start.line, warning.rule));
    linter.warnings
}

struct Linter<'a> {
    file: &'a Dockerfile,
    warnings: Vec<Warning>,
}

fn is_lower(text: &str) -> bool {
    text == text.to_lowercase()
}

fn is_upper(text: &str) -> bool {
    text == text.to_uppercase()
}

impl Linter<'_> {
    fn warn(&mut self, rule: Rule, span: Span, detail: String) {
        self.warnings.push(Warning::new(rule, span, detail));
    }

    fn statement(&mut self, statement: &Statement) {
        if let Some(line) = statement.empty_continuation {
            let detail = "Empty continuation line".to_owned();
            self.warn(Rule::NoEmptyContinuation, Span::of_lines(line, line, 1), detail);
        }
        match &statement.instruction {
            Instruction::Maintainer(_) => self.warn(
                Rule::MaintainerDeprecated,
                statement.span,
                "Maintainer instruction is deprecated in favor of using label".to_owned(),
            ),
            Instruction::From(from) => {
                if let Some(name) = from.written_name.as_deref().filter(|name| !is_lower(name)) {
                    let detail = format!("Stage name '{name}' should be lowercase");
                    self.warn(Rule::StageNameCasing, statement.span, detail);
                }
                if let Some(keyword) = &from.as_keyword {
                    self.as_casing(statement, keyword);
                }
                let names: Vec<_> = from.name.as_deref().into_iter().collect();
                self.description(statement, "FROM", &names);
            }
            Instruction::Arg(arg) => {
                let names: Vec<_> = arg.args.iter().map(|arg| arg.name.as_str()).collect();
                self.description(statement, "ARG", &names);
            }
            _ => {}
        }
    }

    fn as_casing(&mut self, statement: &Statement, keyword: &str) {
        let from = statement.keyword.as_str();
        // A FROM in mixed case is another rule's business.
        let matches = if is_lower(from) { is_lower(keyword) } else { is_upper(keyword) };
        if (is_lower(from) || is_upper(from)) && !matches {
            let detail = format!("'{keyword}' and '{from}' keywords' casing do not match");
            self.warn(Rule::FromAsCasing, statement.span, detail);
        }
    }

    /// The comment directly above a definition begins with one of the names it defines.
    fn description(&mut self, statement: &Statement, instruction: &str, names: &[&str]) {
        let (Some(comment), Some(name)) = (statement.comments.last(), names.first()) else {
            return;
        };
        if names.contains(&comment.split(' ').next().unwrap_or_default()) {
            return;
        }
        let name = if names.len() > 1 { "<arg_key>" } else { name };
        let detail =
            format!("Comment for {instruction} should follow the format: `# {name} <description>`");
        self.warn(Rule::InvalidDefinitionDescription, statement.span, detail);
    }

    fn stage_names(&mut self) {
        let mut seen = BTreeSet::new();
        for stage in &self.file.stages {
            let Instruction::From(from) = &stage.from.instruction else { continue };
            let Some(name) = &from.name else { continue };
            let span = stage.from.span;
            if matches!(name.as_str(), "context" | "scratch") {
                let detail =
                    format!("Stage name should not use the same name as reserved stage \"{name}\"");
                self.warn(Rule::ReservedStageName, span, detail);
            }
            if !seen.insert(name.as_str()) {
                let detail =
                    format!("Duplicate stage name \"{name}\", stage names should be unique");
                self.warn(Rule::DuplicateStageName, span, detail);
            }
        }
    }

    /// The case of instructions follows the majority. Arguments before the first stage do not
    /// count, as in BuildKit.
    fn casing(&mut self) {
        let stages = &self.file.stages;
        let statements = || {
            stages.iter().flat_map(|stage| std::iter::once(&stage.from).chain(&stage.statements))
        };
        let lower = statements().filter(|statement| is_lower(&statement.keyword)).count();
        let upper = statements().filter(|statement| is_upper(&statement.keyword)).count();
        let (case, is_right): (_, fn(&str) -> bool) =
            if lower > upper { ("lowercase", is_lower) } else { ("uppercase", is_upper) };
        for statement in statements() {
            let keyword = &statement.keyword;
            if !is_right(keyword) {
                let detail = format!(
                    "Command '{keyword}' should match the case of the command majority ({case})"
                );
                self.warn(Rule::ConsistentInstructionCasing, statement.span, detail);
            }
        }
    }

    fn stage(&mut self, stage: &Stage) {
        let mut once = [("CMD", None), ("ENTRYPOINT", None), ("HEALTHCHECK", None)];
        for statement in &stage.statements {
            let keyword = &statement.keyword;
            let name = statement.instruction.name();
            if let Some((_, earlier)) = once.iter_mut().find(|(once, _)| *once == name)
                && let Some(earlier) = earlier.replace(statement.span)
            {
                let detail = format!(
                    "Multiple {keyword} instructions should not be used in the same stage because \
                     only the last one will be used"
                );
                self.warn(Rule::MultipleInstructionsDisallowed, earlier, detail);
            }
            match &statement.instruction {
                Instruction::Env(pairs) | Instruction::Label(pairs) if pairs.legacy => {
                    let detail = format!(
                        "\"{keyword} key=value\" should be used instead of legacy \
                         \"{keyword} key value\" format"
                    );
                    self.warn(Rule::LegacyKeyValueFormat, statement.span, detail);
                }
                _ => {}
            }
            match &statement.instruction {
                Instruction::Env(pairs) => {
                    for (key, _) in &pairs.pairs {
                        // A name that is only known when the stage is lowered is not judged.
                        let key = word::expand(key, &EmptyEnv, self.file.escape);
                        if let Ok(key) = key.map_err(drop).and_then(|key| {
                            if key.unmatched.is_empty() { Ok(key.text) } else { Err(()) }
                        }) {
                            self.secret("ENV", &key, statement.span);
                        }
                    }
                }
                Instruction::Arg(arg) => {
                    for arg in &arg.args {
                        self.secret("ARG", &arg.name, statement.span);
                    }
                }
                _ => {}
            }
        }
    }

    fn secret(&mut self, instruction: &str, name: &str, span: Span) {
        if names_secret(name) {
            let name = crate::text::quote(name);
            let detail = format!(
                "Do not use ARG or ENV instructions for sensitive data ({instruction} {name})"
            );
            self.warn(Rule::SecretsUsedInArgOrEnv, span, detail);
        }
    }
}

/// Whether a variable's name says that it holds a secret.
fn names_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let holds = |words: &[&str]| name.split('_').any(|word| words.contains(&word));
    holds(&[
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ]) && !holds(&["public", "file", "version"])
}

#[cfg(test)]
mod tests {
    use super::names_secret;

    #[test]
    fn knows_secrets_by_name() {
        for (name, expected) in [
            ("API_KEY", true),
            ("apikey", true),
            ("DATABASE_PASSWORD", true),
            ("secret_MESSAGE", true),
            ("AUTH", true),
            ("PUBLIC_KEY", false),
            ("TOKEN_FILE", false),
            ("KEY_VERSION", false),
            ("MONKEY", false),
            ("AUTHOR", false),
            ("KEYS", false),
            ("", false),
        ] {
            assert_eq!(names_secret(name), expected, "{name}");
        }
    }
}
