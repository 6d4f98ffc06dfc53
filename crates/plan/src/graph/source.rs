//! What an instruction reads from another stage or image, by the name it has for it.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::word::EmptyEnv;
use dockerfile::{Instruction, Span, Statement, word};

use super::{BaseImageRequest, StageGraph, StageNode, request};
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
            Instruction::Add(_)
            | Instruction::Arg(_)
            | Instruction::Cmd(_)
            | Instruction::Entrypoint(_)
            | Instruction::Env(_)
            | Instruction::Expose(_)
            | Instruction::From(_)
            | Instruction::Healthcheck(_)
            | Instruction::Label(_)
            | Instruction::Maintainer(_)
            | Instruction::OnBuild(_)
            | Instruction::Shell(_)
            | Instruction::StopSignal(_)
            | Instruction::User(_)
            | Instruction::Volume(_)
            | Instruction::Workdir(_) => Ok(Vec::new()),
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
        let edges: Vec<Edges> = self.stages.iter().map(dependencies).collect();
        let mut visited = vec![false; edges.len()];
        for root in self.stage_ids() {
            if let Some(spans) = find_cycle(root, &edges, &mut visited) {
                let label = self.stages[root.0].label(root);
                return Err(Error::with_spans(ErrorKind::Circular(label), spans));
            }
        }
        Ok(())
    }
}

/// The stages that a stage's own instructions read, each with the last instruction that does.
type Edges = Vec<(StageId, Span)>;

fn dependencies(node: &StageNode) -> Edges {
    let mut last: BTreeMap<StageId, Span> = BTreeMap::new();
    for (statement, sources) in node.statements.iter().zip(&node.sources) {
        for source in sources.iter().flatten() {
            if let Source::Stage(id) = source {
                last.insert(*id, statement.span);
            }
        }
    }
    last.into_iter().collect()
}

/// Walks the dependencies of a stage depth first, without recursion: a file may have thousands of
/// stages in a chain. `path` holds the stages being walked, each with the instruction that led to
/// it and the next of its dependencies.
fn find_cycle(root: StageId, edges: &[Edges], visited: &mut [bool]) -> Option<Vec<Span>> {
    if std::mem::replace(&mut visited[root.0], true) {
        return None;
    }
    let mut on_path = BTreeSet::from([root]);
    let mut path: Vec<(StageId, Option<Span>, usize)> = vec![(root, None, 0)];
    while let Some((stage, _, next)) = path.last_mut() {
        let Some((dependency, span)) = edges[stage.0].get(*next).copied() else {
            on_path.remove(stage);
            path.pop();
            continue;
        };
        *next += 1;
        if on_path.contains(&dependency) {
            let mut spans: Vec<Span> = path.iter().filter_map(|(_, span, _)| *span).collect();
            spans.push(span);
            return Some(spans);
        }
        if !std::mem::replace(&mut visited[dependency.0], true) {
            on_path.insert(dependency);
            path.push((dependency, Some(span), 0));
        }
    }
    None
}
