//! From stages to steps: everything expanded, every config change and history text decided.
//!
//! Does not resolve anything: bases are values. One stage at a time, instruction by instruction,
//! because each sees the variables as the ones before left them. Read [`lower`], then `Stage`,
//! which is the state that moves along.

mod chmod;
mod config;
mod copy;
mod notes;
mod ports;
mod run;
mod signal;
mod stage;

use std::collections::BTreeMap;

use oci::{ConfigEdit, Digest, ImageConfig};

use crate::error::{Error, ErrorKind};
use crate::graph::{NodeBase, StageGraph};
use crate::model::{BaseImageId, BuildPlan, StageId, StagePlan};
use stage::Stage;

/// A resolved base image, as far as a plan needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// Its config.
    pub config: ImageConfig,
    /// The digest of its manifest, where it is known.
    pub digest: Option<Digest>,
}

/// The state a finished stage leaves to one that is built from it.
#[derive(Clone)]
struct Finished {
    image: ImageConfig,
    variables: crate::variables::Scope,
    args: Vec<(String, Option<String>)>,
    platform: oci::Platform,
    workdir_set: bool,
    budget: usize,
}

/// How many variables all steps of a plan together may carry.
const MOST_VARIABLES: usize = 1_000_000;

/// Makes the plan.
///
/// # Errors
/// Whatever is wrong with an instruction the targets need, in the order of the file.
pub fn lower(
    graph: &StageGraph,
    bases: &BTreeMap<BaseImageId, Base>,
) -> Result<BuildPlan, Vec<Error>> {
    build(graph, bases).map_err(|error| vec![error])
}

fn build(graph: &StageGraph, bases: &BTreeMap<BaseImageId, Base>) -> Result<BuildPlan, Error> {
    let reach = graph.reach(bases)?;
    if let Some(missing) = reach.images.iter().find(|request| !bases.contains_key(&request.id)) {
        return Err(Error::new(ErrorKind::MissingBase(missing.id.to_string()), missing.span));
    }
    let mut finished: BTreeMap<StageId, Finished> = BTreeMap::new();
    let mut stages = Vec::with_capacity(reach.stages.len());
    let mut warnings = graph.warnings.clone();
    let mut budget = MOST_VARIABLES;
    for (id, work) in reach.stages {
        let mut stage = Stage::begin(graph, id, bases, &finished, budget)?;
        for work in work {
            stage.take(work)?;
        }
        let is_target = graph.targets.contains(&id);
        let (plan, left, found) = stage.end(is_target);
        warnings.extend(found);
        budget = left.budget;
        finished.insert(id, left);
        stages.push(plan);
    }
    if let Some(rules) = graph.lint.violation(&warnings) {
        return Err(violation(rules, &warnings));
    }
    let target = graph.targets.first().copied().unwrap_or(StageId(0));
    Ok(BuildPlan {
        stages,
        targets: graph.targets.clone(),
        target,
        images: vec![target],
        base_images: reach.images,
        epoch: graph.epoch,
        warnings,
        unused_build_args: graph.unused_build_args.clone(),
    })
}

/// Findings that the file or the caller wants to be errors, with the places of all of them.
fn violation(rules: String, warnings: &[dockerfile::lint::Warning]) -> Error {
    let spans = warnings.iter().map(|warning| warning.span).collect();
    Error::with_spans(ErrorKind::Lint(rules), spans)
}

/// What the caller wants of a target's config beyond what the file says.
fn closing_edits(graph: &StageGraph, image: &ImageConfig) -> Vec<ConfigEdit> {
    let labels = graph.options.labels.iter();
    let mut edits: Vec<ConfigEdit> = labels
        .map(|(key, value)| ConfigEdit::Label { key: key.clone(), value: value.clone() })
        .collect();
    let Some(wanted) = &graph.options.platform else { return edits };
    // An explicit platform is what the image says it is for, whatever its base says. Details the
    // caller leaves open stay the base's, if the base is for the same processor.
    let mut platform = image.platform();
    let same = platform.os == wanted.os && platform.architecture == wanted.architecture;
    platform.os.clone_from(&wanted.os);
    platform.architecture.clone_from(&wanted.architecture);
    if wanted.variant.is_some() || !same {
        platform.variant.clone_from(&wanted.variant);
    }
    if wanted.os_version.is_some() || !same {
        platform.os_version.clone_from(&wanted.os_version);
    }
    if !wanted.os_features.is_empty() {
        platform.os_features.clone_from(&wanted.os_features);
    }
    if platform != image.platform() {
        edits.push(ConfigEdit::Platform(platform));
    }
    edits
}

impl NodeBase {
    fn plan(&self) -> crate::StageBase {
        match self {
            NodeBase::Scratch => crate::StageBase::Scratch,
            NodeBase::Stage(id) => crate::StageBase::Stage(*id),
            NodeBase::Image(request) => crate::StageBase::Image(request.id.clone()),
        }
    }
}

type Plan = StagePlan;
