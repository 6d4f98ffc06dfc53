//! Which stages the targets need, and the work of each: triggers of the base, then its own.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::{Instruction, ParseError, ParseErrorKind, Statement, parse_trigger};

use super::{BaseImageRequest, NodeBase, Source, StageGraph};
use crate::error::{Error, ErrorKind};
use crate::{Base, BaseImageId, StageId};

/// What the targets need.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// The stages in the order of the file, each with its work.
    pub(crate) stages: BTreeMap<StageId, Vec<Work>>,
    /// The images, in the order they are met.
    pub(crate) images: Vec<BaseImageRequest>,
}

/// One instruction to carry out.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) statement: Statement,
    pub(crate) sources: Vec<Option<Source>>,
    /// It comes from the base's `ONBUILD`.
    pub(crate) triggered: bool,
}

impl StageGraph {
    /// What the targets need, as far as the known bases tell: the triggers of a base that is not
    /// known are missing.
    pub(crate) fn reach(&self, bases: &BTreeMap<BaseImageId, Base>) -> Result<Reach, Error> {
        let mut reach = Reach::default();
        let mut waiting: BTreeSet<StageId> = self.targets.iter().copied().collect();
        while let Some(id) = waiting.pop_last() {
            if reach.stages.contains_key(&id) {
                continue;
            }
            let work = self.work_of(id, bases)?;
            match &self.stages[id.0].base {
                NodeBase::Scratch => {}
                NodeBase::Stage(base) => {
                    waiting.insert(*base);
                }
                NodeBase::Image(request) => add(&mut reach.images, request),
            }
            for source in work.iter().flat_map(|work| work.sources.iter().flatten()) {
                match source {
                    Source::Stage(id) => {
                        waiting.insert(*id);
                    }
                    Source::Image(request) => add(&mut reach.images, request),
                    Source::Scratch => {}
                }
            }
            reach.stages.insert(id, work);
        }
        reach.images.sort_by_key(|request| request.span);
        Ok(reach)
    }

    fn work_of(
        &self,
        id: StageId,
        bases: &BTreeMap<BaseImageId, Base>,
    ) -> Result<Vec<Work>, Error> {
        let node = &self.stages[id.0];
        let mut work = Vec::new();
        for trigger in self.triggers(id, bases) {
            let mut statement = parse_trigger(&trigger, '\\')
                .map_err(|error| Error::new(trigger_error(error), node.from.span))?;
            if matches!(statement.instruction, Instruction::OnBuild(_)) {
                return Err(Error::new(ErrorKind::TriggerChain, node.from.span));
            }
            statement.span = node.from.span;
            let sources = self.sources_of(&statement)?;
            work.push(Work { statement, sources, triggered: true });
        }
        let own = node.statements.iter().zip(&node.sources);
        work.extend(own.map(|(statement, sources)| Work {
            statement: statement.clone(),
            sources: sources.clone(),
            triggered: false,
        }));
        Ok(work)
    }

    /// The triggers that fire where a stage begins. They fire once: a stage built from this one
    /// fires only what this one declares itself.
    fn triggers(&self, id: StageId, bases: &BTreeMap<BaseImageId, Base>) -> Vec<String> {
        match &self.stages[id.0].base {
            NodeBase::Scratch => Vec::new(),
            NodeBase::Image(request) => bases
                .get(&request.id)
                .map(|base| base.config.config.on_build.clone())
                .unwrap_or_default(),
            NodeBase::Stage(base) => {
                let mut triggers = Vec::new();
                for statement in &self.stages[base.0].statements {
                    if let Instruction::OnBuild(on_build) = &statement.instruction {
                        triggers.push(on_build.trigger.clone());
                    }
                }
                triggers
            }
        }
    }
}

fn trigger_error(error: ParseError) -> ErrorKind {
    if error.kind == ParseErrorKind::ForbiddenTrigger("FROM") {
        return ErrorKind::TriggerStage;
    }
    ErrorKind::Trigger(error)
}

fn add(images: &mut Vec<BaseImageRequest>, request: &BaseImageRequest) {
    match images.iter_mut().find(|known| known.id == request.id) {
        // The first instruction of the file that wants it is the one to show.
        Some(known) if request.span < known.span => *known = request.clone(),
        Some(_) => {}
        None => images.push(request.clone()),
    }
}
