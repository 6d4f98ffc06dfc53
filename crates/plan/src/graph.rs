//! The stages: what each starts from, what it copies from, and which ones a target needs.
//!
//! Does not look into instructions beyond the names they refer to. What every stage of the file
//! is checked for, whether the target needs it or not, is checked here.

mod notes;
mod reach;
mod source;

use std::collections::BTreeMap;

use dockerfile::lint::{LintOptions, Warning};
use dockerfile::{Dockerfile, Instruction, Span, Statement, suggest, word};
use oci::{Platform, Reference};

pub(crate) use reach::Work;
pub(crate) use source::Source;

use crate::error::{DidYouMean, Error, ErrorKind};
use crate::variables::{Scope, predefined};
use crate::{Base, BaseImageId, PlanOptions, StageId, frontend};

/// An image to resolve before the plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseImageRequest {
    /// By which it is handed in and referred to.
    pub id: BaseImageId,
    /// Its full name.
    pub reference: Reference,
    /// The name as the file has it, expanded; messages begin with it.
    pub written: String,
    /// The platform that is wanted.
    pub platform: Platform,
    /// The first instruction that wants it.
    pub span: Span,
}

/// The stages of a file and how they depend on each other.
#[derive(Debug, Clone)]
pub struct StageGraph {
    pub(crate) escape: char,
    pub(crate) options: PlanOptions,
    pub(crate) globals: Scope,
    pub(crate) epoch: Option<i64>,
    pub(crate) stages: Vec<StageNode>,
    pub(crate) targets: Vec<StageId>,
    pub(crate) lint: LintOptions,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) unused_build_args: Vec<String>,
    names: BTreeMap<String, StageId>,
    base_images: Vec<BaseImageRequest>,
    first_run: Option<Span>,
}

/// One stage of the file.
#[derive(Debug, Clone)]
pub(crate) struct StageNode {
    pub(crate) name: Option<String>,
    pub(crate) base: NodeBase,
    /// `FROM --platform`
    pub(crate) platform: Option<Platform>,
    pub(crate) from: Statement,
    pub(crate) statements: Vec<Statement>,
    /// For each statement, what it reads from elsewhere.
    pub(crate) sources: Vec<Vec<Option<Source>>>,
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeBase {
    Scratch,
    Stage(StageId),
    Image(Box<BaseImageRequest>),
}

impl StageNode {
    /// What messages call a stage.
    pub(crate) fn label(&self, id: StageId) -> String {
        self.name.clone().unwrap_or_else(|| format!("stage-{id}"))
    }
}

/// Finds the stages of a file, what they depend on, and which ones are needed.
///
/// # Errors
/// Whatever is wrong with any stage of the file, needed or not.
pub fn stage_graph(file: &Dockerfile, options: &PlanOptions) -> Result<StageGraph, Vec<Error>> {
    build(file, options).map_err(|error| vec![error])
}

fn build(file: &Dockerfile, options: &PlanOptions) -> Result<StageGraph, Error> {
    frontend::check(file, options)?;
    let lint = notes::lint_options(file, options)?;
    if file.stages.is_empty() {
        return Err(Error::nowhere(ErrorKind::NoStages));
    }
    let mut graph = StageGraph {
        escape: file.escape,
        options: options.clone(),
        globals: global_scope(file, options)?,
        epoch: None,
        stages: Vec::new(),
        targets: Vec::new(),
        warnings: dockerfile::lint::lint(file, &lint),
        lint,
        unused_build_args: notes::unused_build_args(file, options),
        names: BTreeMap::new(),
        base_images: Vec::new(),
        first_run: None,
    };
    graph.take_epoch(file)?;
    graph.note_defaults(file, target_name(file, options));
    for stage in &file.stages {
        graph.add_stage(file, stage)?;
    }
    graph.targets = graph.find_targets()?;
    for id in graph.stage_ids() {
        let node = &graph.stages[id.0];
        let sources: Result<Vec<_>, Error> =
            node.statements.iter().map(|statement| graph.sources_of(statement)).collect();
        graph.stages[id.0].sources = sources?;
    }
    graph.check_cycles()?;
    let reach = graph.reach(&BTreeMap::new())?;
    let work = reach.stages.values().flatten();
    let runs = work.filter(|work| matches!(work.statement.instruction, Instruction::Run(_)));
    graph.first_run = runs.map(|work| work.statement.span).next();
    graph.base_images = reach.images;
    Ok(graph)
}

fn stage_name(stage: &dockerfile::Stage) -> Option<&str> {
    let Instruction::From(from) = &stage.from.instruction else { return None };
    from.name.as_deref()
}

/// The stage a file builds by default, as `TARGETSTAGE` names it.
fn target_name<'a>(file: &'a Dockerfile, options: &'a PlanOptions) -> &'a str {
    let named = |index: usize| file.stages.get(index).and_then(stage_name);
    match options.targets.first() {
        // A place is our extension; a name that looks like one cannot exist.
        Some(target) => match target.parse::<usize>() {
            Ok(index) => named(index).unwrap_or(""),
            Err(_) => target,
        },
        None => named(file.stages.len() - 1).unwrap_or(""),
    }
}

/// The arguments before the first `FROM`.
fn global_scope(file: &Dockerfile, options: &PlanOptions) -> Result<Scope, Error> {
    let mut scope = predefined(options, target_name(file, options));
    for statement in &file.global_args {
        let Instruction::Arg(arg) = &statement.instruction else { continue };
        for definition in &arg.args {
            if let Some(value) = options.build_arg(&definition.name) {
                scope.set(&definition.name, value);
            } else if let Some(default) = &definition.default {
                let value = word::expand(default, &scope, file.escape)
                    .map_err(|error| Error::new(error, statement.span))?;
                scope.set(&definition.name, &value.text);
            }
        }
    }
    Ok(scope)
}

impl StageGraph {
    /// The images to resolve before [`lower`](crate::lower), as far as the file alone tells.
    pub fn base_images(&self) -> &[BaseImageRequest] {
        &self.base_images
    }

    /// The first RUN that the targets need, as far as the file alone tells: a base image's trigger
    /// may bring one too.
    pub fn first_run(&self) -> Option<Span> {
        self.first_run
    }

    /// The images that become needed once `bases` are known, because a trigger of one of them
    /// copies from an image. Empty when all are known.
    ///
    /// # Errors
    /// A base has a trigger that is malformed.
    pub fn triggered_base_images(
        &self,
        bases: &BTreeMap<BaseImageId, Base>,
    ) -> Result<Vec<BaseImageRequest>, Vec<Error>> {
        let reach = self.reach(bases).map_err(|error| vec![error])?;
        Ok(reach.images.into_iter().filter(|request| !bases.contains_key(&request.id)).collect())
    }

    /// What the linter has to say about the file as far as it is known now.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    pub(crate) fn stage_ids(&self) -> impl Iterator<Item = StageId> + use<> {
        (0..self.stages.len()).map(StageId)
    }

    /// `SOURCE_DATE_EPOCH` in seconds; as a build argument an empty one cancels a default.
    fn take_epoch(&mut self, file: &Dockerfile) -> Result<(), Error> {
        const NAME: &str = "SOURCE_DATE_EPOCH";
        let given = self.options.build_arg(NAME).map(str::to_owned);
        let default = self.globals.value(NAME).filter(|value| !value.is_empty());
        let Some(value) = given.clone().or_else(|| default.map(str::to_owned)) else {
            return Ok(());
        };
        let text = if value.is_empty() {
            String::new()
        } else if let Ok(seconds) = value.strip_prefix('+').unwrap_or(&value).parse::<i64>() {
            self.epoch = Some(seconds);
            seconds.to_string()
        } else {
            let mut names = file.stages.iter().filter_map(stage_name);
            let is_stage = names.any(|name| name.eq_ignore_ascii_case(&value));
            let kind = if is_stage || value == "context" {
                ErrorKind::EpochSource(value)
            } else {
                ErrorKind::Epoch(value)
            };
            return Err(Error::nowhere(kind));
        };
        self.options.build_args.retain(|(name, _)| name != NAME);
        if text.is_empty() {
            self.globals.unset(NAME);
            return Ok(());
        }
        if given.is_some() {
            self.options.build_args.push((NAME.to_owned(), text.clone()));
        }
        if self.globals.value(NAME).is_some() {
            self.globals.set(NAME, &text);
        }
        Ok(())
    }

    fn add_stage(&mut self, file: &Dockerfile, stage: &dockerfile::Stage) -> Result<(), Error> {
        let span = stage.from.span;
        let Instruction::From(from) = &stage.from.instruction else {
            return Err(Error::nowhere(ErrorKind::NoStages));
        };
        let image = word::expand(&from.image, &self.globals, self.escape)
            .map_err(|error| Error::new(error, span))?;
        self.note_undeclared(file, &stage.from, &image);
        let image = image.text;
        if image.is_empty() {
            return Err(Error::new(ErrorKind::BlankBase(from.image.clone()), span));
        }
        let platform = match &from.platform {
            Some(written) => {
                let expanded = word::expand(written, &self.globals, self.escape)
                    .map_err(|error| Error::new(ErrorKind::PlatformWord(error), span))?;
                self.note_undeclared(file, &stage.from, &expanded);
                self.note_platform(&stage.from, from.name.as_deref(), written, &expanded);
                Some(self.platform(written, &expanded, span)?)
            }
            None => None,
        };
        let base = if let Some(id) = self.names.get(&image) {
            NodeBase::Stage(*id)
        } else if image == "scratch" {
            NodeBase::Scratch
        } else {
            let wanted = platform.as_ref().unwrap_or(self.options.target_platform());
            NodeBase::Image(Box::new(request(&image, wanted, span)?))
        };
        let id = StageId(self.stages.len());
        if let Some(name) = &from.name {
            self.names.insert(name.to_lowercase(), id);
        }
        self.stages.push(StageNode {
            name: from.name.clone(),
            base,
            platform,
            from: stage.from.clone(),
            statements: stage.statements.clone(),
            sources: Vec::new(),
        });
        Ok(())
    }

    fn platform(
        &self,
        written: &str,
        expanded: &word::Expanded,
        span: Span,
    ) -> Result<Platform, Error> {
        let did_you_mean = || {
            let names = self.globals.names();
            let found = expanded.unmatched.iter().find_map(|name| suggest(name, &names));
            DidYouMean(found)
        };
        if expanded.text.is_empty() {
            let kind = ErrorKind::EmptyPlatform {
                expression: written.to_owned(),
                did_you_mean: did_you_mean(),
            };
            return Err(Error::new(kind, span));
        }
        Platform::check(&expanded.text).map_err(|fault| {
            let kind = ErrorKind::Platform {
                expression: written.to_owned(),
                fault,
                did_you_mean: did_you_mean(),
            };
            Error::new(kind, span)
        })
    }

    fn find_targets(&self) -> Result<Vec<StageId>, Error> {
        if self.options.targets.is_empty() {
            return Ok(vec![StageId(self.stages.len() - 1)]);
        }
        let mut found = Vec::new();
        for target in &self.options.targets {
            let place = || {
                let index = target.parse::<usize>().ok()?;
                (index < self.stages.len()).then_some(StageId(index))
            };
            let named = self.names.get(&target.to_lowercase()).copied();
            let id = named.or_else(place).ok_or_else(|| {
                let labels: Vec<String> =
                    self.stage_ids().map(|id| self.stages[id.0].label(id)).collect();
                let suggestion = suggest(target, &labels);
                Error::nowhere(ErrorKind::Target {
                    name: target.clone(),
                    did_you_mean: DidYouMean(suggestion),
                })
            })?;
            if !found.contains(&id) {
                found.push(id);
            }
        }
        Ok(found)
    }

    pub(crate) fn stage_named(&self, name: &str) -> Option<StageId> {
        self.names.get(&name.to_lowercase()).copied()
    }
}

/// A request for an image by the name a file has for it.
pub(crate) fn request(
    name: &str,
    platform: &Platform,
    span: Span,
) -> Result<BaseImageRequest, Error> {
    let reference = Reference::check(name)
        .map_err(|fault| Error::new(ErrorKind::Reference { name: name.to_owned(), fault }, span))?;
    Ok(BaseImageRequest {
        id: BaseImageId::new(&reference, platform),
        reference,
        written: name.to_owned(),
        platform: platform.clone(),
        span,
    })
}
