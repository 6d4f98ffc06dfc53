//! What the linter finds about the stages themselves.

use dockerfile::lint::{LintOptions, Warning};
use dockerfile::word::Expanded;
use dockerfile::{Dockerfile, Instruction, Span, Statement, word};
use oci::{Platform, Reference};

use super::StageGraph;
use crate::PlanOptions;
use crate::error::{Error, ErrorKind};
use crate::options::Lint;
use crate::variables::{Scope, is_special, predefined};

/// How findings are treated: as the file says, unless the caller knows better.
pub(super) fn lint_options(file: &Dockerfile, options: &PlanOptions) -> Result<LintOptions, Error> {
    let build_arg = options.build_arg("BUILDKIT_DOCKERFILE_CHECK");
    let mut lint = LintOptions::of(file, build_arg).map_err(|error| {
        let directive = file.directives.iter().find(|directive| directive.name == "check");
        let kind = ErrorKind::CheckOptions(error);
        match directive.filter(|_| build_arg.is_none()) {
            Some(directive) => Error::new(kind, Span::of_lines(directive.line, directive.line, 1)),
            None => Error::nowhere(kind),
        }
    })?;
    match options.lint {
        Lint::Off => lint = LintOptions { skip_all: true, ..LintOptions::default() },
        Lint::Warn => {}
        Lint::Error => lint.error = true,
    }
    Ok(lint)
}

/// Names that a `FROM` may use.
fn declared(scope: &Scope, file_args: &[String]) -> Vec<String> {
    let mut names: Vec<String> = scope.names().into_iter().map(str::to_owned).collect();
    names.extend(file_args.iter().cloned());
    names
}

/// The names that `ARG` declares before the first stage.
fn global_names(file: &Dockerfile) -> Vec<String> {
    let mut names = Vec::new();
    for statement in &file.global_args {
        if let Instruction::Arg(arg) = &statement.instruction {
            names.extend(arg.args.iter().map(|arg| arg.name.clone()));
        }
    }
    names
}

impl StageGraph {
    fn note(&mut self, statement: &Statement, warning: Warning) {
        if self.lint.for_statement(statement).keeps(warning.rule) {
            self.warnings.push(warning);
        }
    }

    /// Variables of a `FROM` that are neither set nor declared.
    pub(super) fn note_undeclared(
        &mut self,
        file: &Dockerfile,
        statement: &Statement,
        expanded: &Expanded,
    ) {
        let names = declared(&self.globals, &global_names(file));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = Warning::undefined_args_in_from(&expanded.unmatched, &names, statement.span);
        for warning in found {
            self.note(statement, warning);
        }
    }

    /// A platform that is always the same, or that is the default anyway.
    pub(super) fn note_platform(
        &mut self,
        statement: &Statement,
        name: Option<&str>,
        written: &str,
        expanded: &Expanded,
    ) {
        let only_target = expanded.unmatched.is_empty()
            && expanded.matched.iter().map(String::as_str).eq(["TARGETPLATFORM"]);
        if only_target && self.globals.value("TARGETPLATFORM") == Some(&expanded.text) {
            let warning = Warning::redundant_target_platform(written, statement.span);
            self.note(statement, warning);
        }
        if !expanded.matched.is_empty() || !expanded.unmatched.is_empty() {
            return;
        }
        let Ok(platform) = Platform::check(&expanded.text) else { return };
        // A stage that is named after the platform is meant to be for it.
        let name = name.unwrap_or("");
        if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            let warning = Warning::from_platform_const(&expanded.text, statement.span);
            self.note(statement, warning);
        }
    }

    /// Base images that nobody could pull who builds without arguments.
    pub(super) fn note_defaults(&mut self, file: &Dockerfile, target: &str) {
        let mut scope = predefined(&self.options, target);
        for statement in &file.global_args {
            let Instruction::Arg(arg) = &statement.instruction else { continue };
            for definition in &arg.args {
                let Some(default) = &definition.default else { continue };
                // The same error is reported where the arguments that count are taken.
                let Ok(value) = word::expand(default, &scope, file.escape) else { return };
                scope.set(&definition.name, &value.text);
            }
        }
        for stage in &file.stages {
            let Instruction::From(from) = &stage.from.instruction else { continue };
            let Ok(image) = word::expand(&from.image, &scope, file.escape) else { return };
            if Reference::check(&image.text).is_err() {
                let span = stage.from.span;
                let warning = Warning::invalid_default_arg_in_from(&from.image, span);
                self.note(&stage.from, warning);
            }
        }
    }
}

/// Build arguments that no `ARG` of the file declares and that mean nothing by themselves.
pub(super) fn unused_build_args(file: &Dockerfile, options: &PlanOptions) -> Vec<String> {
    let mut declared = global_names(file);
    for statement in file.stages.iter().flat_map(|stage| &stage.statements) {
        if let Instruction::Arg(arg) = &statement.instruction {
            declared.extend(arg.args.iter().map(|arg| arg.name.clone()));
        }
    }
    let mut unused: Vec<String> = Vec::new();
    for (name, _) in &options.build_args {
        if !declared.contains(name) && !is_special(name) && !unused.contains(name) {
            unused.push(name.clone());
        }
    }
    unused
}
