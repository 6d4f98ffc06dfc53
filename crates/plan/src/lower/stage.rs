//! The state of a stage while its instructions are taken one by one.

use std::collections::BTreeMap;

use dockerfile::lint::{LintOptions, Warning};
use dockerfile::word::Expanded;
use dockerfile::{Instruction, Span, word};
use oci::{ConfigEdit, DEFAULT_PATH, ImageConfig, Platform};

use super::{Base, Finished, MOST_VARIABLES, Plan, closing_edits};
use crate::Unimplemented;
use crate::error::{Error, ErrorKind};
use crate::features;
use crate::graph::{NodeBase, StageGraph, Work};
use crate::model::{BaseImageId, HistoryKind, InlineFile, Op, StageId, Step, StepId, StepInput};
use crate::text::join;
use crate::variables::Scope;

/// A stage in the making.
pub(super) struct Stage<'a> {
    pub(super) graph: &'a StageGraph,
    pub(super) id: StageId,
    /// The config as the steps so far leave it.
    pub(super) image: ImageConfig,
    /// What words expand with: the image's environment and the arguments in scope.
    pub(super) variables: Scope,
    /// The arguments declared so far, in order, repetitions included.
    pub(super) args: Vec<(String, Option<String>)>,
    pub(super) platform: Platform,
    pub(super) workdir_set: bool,
    /// This very stage has a `CMD`.
    pub(super) cmd_set: bool,
    /// The instruction being taken.
    pub(super) span: Span,
    /// Which findings the instruction being taken may have.
    pub(super) lint: LintOptions,
    /// How many variables the steps of the plan may still carry.
    budget: usize,
    setup: Vec<ConfigEdit>,
    steps: Vec<Step>,
    pub(super) warnings: Vec<Warning>,
}

/// What an instruction becomes; the rest of a step is the same for all.
pub(super) struct Outcome {
    pub(super) op: Op,
    pub(super) inputs: Vec<StepInput>,
    pub(super) created_by: String,
    pub(super) history: HistoryKind,
}

impl<'a> Stage<'a> {
    /// A stage before its first instruction.
    pub(super) fn begin(
        graph: &'a StageGraph,
        id: StageId,
        bases: &BTreeMap<BaseImageId, Base>,
        finished: &BTreeMap<StageId, Finished>,
        budget: usize,
    ) -> Result<Stage<'a>, Error> {
        let node = &graph.stages[id.0];
        let target = graph.options.target_platform();
        let mut stage = Stage {
            graph,
            id,
            image: ImageConfig::default(),
            variables: Scope::default(),
            args: Vec::new(),
            platform: node.platform.clone().unwrap_or_else(|| target.clone()),
            workdir_set: false,
            cmd_set: false,
            span: node.from.span,
            lint: graph.lint.for_statement(&node.from),
            budget,
            setup: Vec::new(),
            steps: Vec::new(),
            warnings: Vec::new(),
        };
        let missing = |what: String| Error::new(ErrorKind::MissingBase(what), node.from.span);
        match &node.base {
            NodeBase::Scratch => {
                stage.platform = target.clone();
                stage.image.set_platform(target);
                stage.set_up(ConfigEdit::Env { key: "PATH".into(), value: DEFAULT_PATH.into() });
                stage.set_up(ConfigEdit::WorkingDir("/".into()));
            }
            NodeBase::Image(request) => {
                let base = bases.get(&request.id).ok_or_else(|| missing(request.id.to_string()))?;
                stage.image = base.config.clone();
                stage.note_base_platform(request, node.from.span);
                // What the plan does not change is not carried from stage to stage.
                stage.image.history.clear();
                stage.image.rootfs.diff_ids.clear();
            }
            NodeBase::Stage(base) => {
                let base = finished.get(base).ok_or_else(|| missing(format!("stage {base}")))?;
                stage.image = base.image.clone();
                stage.args.clone_from(&base.args);
                stage.variables = base.variables.clone();
                stage.platform = base.platform.clone();
                stage.workdir_set = base.workdir_set;
            }
        }
        stage.settle();
        Ok(stage)
    }

    /// Takes variables out of the budget: a file of a few hundred kilobytes could otherwise ask
    /// for gigabytes of plan.
    pub(super) fn spend(&mut self, variables: usize) -> Result<(), Error> {
        let left = self.budget.checked_sub(variables);
        self.budget =
            left.ok_or_else(|| self.error(ErrorKind::TooManyVariables(MOST_VARIABLES)))?;
        Ok(())
    }

    /// What every stage does to the config it starts from, without an instruction.
    fn settle(&mut self) {
        if !self.image.config.on_build.is_empty() {
            self.set_up(ConfigEdit::ClearOnBuild);
        }
        if self.image.config.env("PATH").is_none() && self.platform.os != "windows" {
            self.set_up(ConfigEdit::Env { key: "PATH".into(), value: DEFAULT_PATH.into() });
        }
        for entry in self.image.config.env.clone() {
            let (key, value) = entry.split_once('=').unwrap_or((&entry, ""));
            self.variables.set(key, value);
        }
        // BuildKit joins a relative directory to itself once more; that helps nobody.
        let directory = &self.image.config.working_dir;
        if !directory.is_empty() && !directory.starts_with('/') {
            self.set_up(ConfigEdit::WorkingDir(join("/", directory)));
        }
    }

    fn set_up(&mut self, edit: ConfigEdit) {
        edit.apply(&mut self.image);
        self.setup.push(edit);
    }

    /// Takes one instruction.
    pub(super) fn take(&mut self, work: Work) -> Result<(), Error> {
        let Work { statement, sources, triggered } = work;
        self.span = statement.span;
        self.lint = self.graph.lint.for_statement(&statement);
        let outcome = match &statement.instruction {
            Instruction::Add(add) => self.add(add)?,
            Instruction::Arg(arg) => self.arg(arg)?,
            Instruction::Cmd(command) => self.cmd(&statement, command),
            Instruction::Copy(copy) => self.copy(copy, sources.first().and_then(Option::as_ref))?,
            Instruction::Entrypoint(command) => self.entrypoint(&statement, command),
            Instruction::Env(pairs) => self.env(pairs)?,
            Instruction::Expose(words) => self.expose(words)?,
            Instruction::Healthcheck(check) => self.healthcheck(check),
            Instruction::Label(pairs) => self.label(pairs)?,
            Instruction::Maintainer(author) => self.maintainer(author),
            Instruction::OnBuild(on_build) => self.on_build(&on_build.trigger),
            Instruction::Run(run) => self.run(run, &sources)?,
            Instruction::Shell(words) => self.shell(words),
            Instruction::StopSignal(signal) => self.stop_signal(signal)?,
            Instruction::User(user) => self.user(user)?,
            Instruction::Volume(paths) => self.volume(paths)?,
            Instruction::Workdir(path) => self.workdir(path)?,
            // The parser puts it at the head of a stage and nowhere else.
            Instruction::From(_) => return Ok(()),
        };
        let index = self.steps.len();
        self.steps.push(Step {
            id: StepId { stage: self.id, index },
            op: outcome.op,
            inputs: outcome.inputs,
            span: statement.span,
            created_by: outcome.created_by,
            history: outcome.history,
            text: statement.text,
            triggered,
        });
        Ok(())
    }

    /// The finished stage, what it leaves to others, and what the linter has to say.
    pub(super) fn end(self, is_target: bool) -> (Plan, Finished, Vec<Warning>) {
        let node = &self.graph.stages[self.id.0];
        let closing = if is_target { closing_edits(self.graph, &self.image) } else { Vec::new() };
        let plan = Plan {
            id: self.id,
            name: node.name.clone(),
            base: node.base.plan(),
            platform: self.platform.clone(),
            setup: self.setup,
            steps: self.steps,
            closing,
            span: node.from.span,
        };
        let left = Finished {
            image: self.image,
            variables: self.variables,
            args: self.args,
            platform: self.platform,
            workdir_set: self.workdir_set,
            budget: self.budget,
        };
        (plan, left, self.warnings)
    }

    /// An error at the instruction being taken.
    pub(super) fn error(&self, kind: impl Into<ErrorKind>) -> Error {
        Error::new(kind, self.span)
    }

    /// Carries config edits out and makes them a step without a layer.
    pub(super) fn config(&mut self, edits: Vec<ConfigEdit>, created_by: String) -> Outcome {
        for edit in &edits {
            edit.apply(&mut self.image);
        }
        let op = Op::Config(edits);
        Outcome { op, inputs: Vec::new(), created_by, history: HistoryKind::Empty }
    }

    /// Expands a word with the variables as they are now.
    pub(super) fn expand(&mut self, text: &str) -> Result<String, Error> {
        let expanded = word::expand(text, &self.variables, self.graph.escape)
            .map_err(|error| self.error(error))?;
        Ok(self.noted(expanded))
    }

    /// Expands an option that is absent where it expands to nothing.
    pub(super) fn expand_option(&mut self, text: Option<&str>) -> Result<Option<String>, Error> {
        let expanded = text.map(|text| self.expand(text)).transpose()?;
        Ok(expanded.filter(|text| !text.is_empty()))
    }

    /// The text, after the variables that are not set have been noted.
    pub(super) fn noted(&mut self, expanded: Expanded) -> String {
        self.note_undefined(&expanded.unmatched);
        expanded.text
    }

    /// A here-document as a file. Its name is one component of a path: what it is written below
    /// is not the Dockerfile's to choose.
    pub(super) fn file(&self, name: &str, content: String) -> Result<InlineFile, Error> {
        if name.contains(['/', '\0']) || matches!(name, "" | "." | "..") {
            return Err(self.error(ErrorKind::HeredocName(name.to_owned())));
        }
        Ok(InlineFile { name: name.to_owned(), content })
    }

    /// Refuses a feature that has no effect yet.
    pub(super) fn require(&self, name: &'static str) -> Result<(), Error> {
        let feature = features::find(name)
            .expect("the table has a row for every feature, because a test lowers each of them");
        match (feature.support.reason(), self.graph.options.unimplemented) {
            (None, _) | (Some(_), Unimplemented::Plan) => Ok(()),
            (Some(_), Unimplemented::Refuse) => {
                Err(self.error(ErrorKind::Unimplemented { feature }))
            }
        }
    }

    /// The working directory, absolute.
    pub(super) fn cwd(&self) -> String {
        match self.image.config.working_dir.as_str() {
            "" => "/".to_owned(),
            directory => directory.to_owned(),
        }
    }

    /// What messages call the stage.
    pub(super) fn label_of(&self, id: StageId) -> String {
        self.graph.stages[id.0].label(id)
    }
}
