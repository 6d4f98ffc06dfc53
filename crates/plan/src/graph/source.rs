//! What an instruction reads from another stage or image, by the name it has for it.

use dockerfile::word::EmptyEnv;
use dockerfile::{Instruction, Span, Statement, word};

use super::{BaseImageRequest, StageGraph, request};
use crate::StageId;
use crate::error::{Error, ErrorKind};

/// Where an instruction reads from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A stage of the file.
    Stage(StageId),
    /// An image.
    Image(Box<BaseImageRequest>),
    /// Nothing.
    Scratch,
}

impl StageGraph {
    /// The sources of an instruction: one for `COPY --from`, one for each `RUN --mount` with a
    /// `from`, in the order of the mounts.
    pub(crate) fn sources_of(&self, statement: &Statement) -> Result<Vec<Option<Source>>, Error> {
        let span = statement.span;
        match &statement.instruction {
            Instruction::Copy(copy) => {
                let source = copy.from.as_deref().map(|from| self.copy_source(from, span));
                Ok(vec![source.transpose()?])
            }
            Instruction::Run(run) => run
                .mounts
                .iter()
                .map(|mount| mount.from().map(|from| self.named_source(from, span)).transpose())
                .collect(),
            _ => Ok(Vec::new()),
        }
    }

    /// `--from` takes a stage's name, then its place, then an image's name.
    fn copy_source(&self, from: &str, span: Span) -> Result<Source, Error> {
        let expanded = word::expand(from, &EmptyEnv, self.escape)
            .map_err(|error| Error::new(error, span))?
            .text;
        if expanded != from {
            return Err(Error::new(ErrorKind::FromExpansion, span));
        }
        let digits = from.strip_prefix(['+', '-']).unwrap_or(from);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return self.named_source(from, span);
        }
        let index = from.strip_prefix('+').unwrap_or(from).parse::<usize>().ok();
        match index.filter(|index| *index < self.stages.len()) {
            Some(index) => Ok(Source::Stage(StageId(index))),
            None => Err(Error::new(ErrorKind::StageIndex(from.to_owned()), span)),
        }
    }

    /// A mount's `from` takes a stage's name or an image's name.
    fn named_source(&self, from: &str, span: Span) -> Result<Source, Error> {
        if let Some(id) = self.stage_named(from) {
            return Ok(Source::Stage(id));
        }
        if from == "scratch" {
            return Ok(Source::Scratch);
        }
        request(from, self.options.target_platform(), span)
            .map(|request| Source::Image(Box::new(request)))
    }

    /// Refuses stages that need each other through copies and mounts.
    pub(super) fn check_cycles(&self) -> Result<(), Error> {
        let mut visited = vec![false; self.stages.len()];
        for root in self.stage_ids() {
            let mut path = Vec::new();
            if let Some(spans) = self.find_cycle(root, &mut visited, &mut path) {
                let label = self.stages[root.0].label(root);
                return Err(Error::with_spans(ErrorKind::Circular(label), spans));
            }
        }
        Ok(())
    }

    /// Walks the dependencies of a stage depth first, without recursion: a file may have
    /// thousands of stages in a chain. `path` holds the stages being walked, each with the
    /// instruction that led to it and the next of its dependencies.
    fn find_cycle(
        &self,
        root: StageId,
        visited: &mut [bool],
        path: &mut Vec<(StageId, Option<Span>, usize)>,
    ) -> Option<Vec<Span>> {
        if std::mem::replace(&mut visited[root.0], true) {
            return None;
        }
        path.push((root, None, 0));
        while let Some((stage, _, next)) = path.last_mut() {
            let dependencies = self.dependencies(*stage);
            let Some((dependency, span)) = dependencies.get(*next).copied() else {
                path.pop();
                continue;
            };
            *next += 1;
            if path.iter().any(|(stage, _, _)| *stage == dependency) {
                let mut spans: Vec<Span> = path.iter().filter_map(|(_, span, _)| *span).collect();
                spans.push(span);
                return Some(spans);
            }
            if !std::mem::replace(&mut visited[dependency.0], true) {
                path.push((dependency, Some(span), 0));
            }
        }
        None
    }

    /// The stages an own instruction of a stage reads, with the last one that reads each.
    fn dependencies(&self, stage: StageId) -> Vec<(StageId, Span)> {
        let node = &self.stages[stage.0];
        let mut found: Vec<(StageId, Span)> = Vec::new();
        for (statement, sources) in node.statements.iter().zip(&node.sources) {
            for source in sources.iter().flatten() {
                if let Source::Stage(id) = source {
                    match found.iter_mut().find(|(known, _)| known == id) {
                        Some((_, span)) => *span = statement.span,
                        None => found.push((*id, statement.span)),
                    }
                }
            }
        }
        found
    }
}
