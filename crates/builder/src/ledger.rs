//! What finished stages leave to those that read them, and until when it is kept.
//!
//! A stage is *held* by each step and stage that reads it. A stage that needed no files of its own
//! holds its parent for as long as it is held itself: a reader may still ask for its files, which
//! are the parent's. Keeps the books; roots are made and removed by `trees.rs`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci::ImageDraft;
use plan::{
    BuildPlan, CopySource, MountSource, MountSpec, Op, StageBase, StageId, StagePlan, Step,
};

use crate::results::Hit;

/// The stages of a plan. Stages at work share it.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Of each stage, what its steps read.
    step_reads: BTreeMap<StageId, Vec<StageId>>,
    target: StageId,
    images: Vec<StageId>,
    parents: BTreeMap<StageId, StageId>,
    files: BTreeMap<StageId, Mutex<Files>>,
    /// Layers that the cache had, and whose files nobody has asked for.
    postponed: Mutex<BTreeMap<StageId, Vec<Hit>>>,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    drafts: BTreeMap<StageId, ImageDraft>,
    holders: BTreeMap<StageId, usize>,
}

/// The files of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// No step asked for them yet.
    NotYet,
    /// They are in the stage's root.
    Made {
        /// How many bytes its layers have, those of the base and those of its steps so far.
        bytes: u64,
    },
    /// Another stage took them over, or nobody needs them any more.
    Gone,
}

impl Ledger {
    /// Of a plan of which these steps may be carried out.
    pub(crate) fn new(plan: &BuildPlan, is_open: &impl Fn(&Step) -> bool) -> Ledger {
        let mut holders: BTreeMap<StageId, usize> = BTreeMap::new();
        for held in plan.stages.iter().flat_map(|stage| reads(stage, is_open)) {
            *holders.entry(held).or_default() += 1;
        }
        let step_reads = plan.stages.iter().map(|stage| (stage.id, step_reads(stage, is_open)));
        let parents = plan.stages.iter().filter_map(|stage| Some((stage.id, parent(stage)?)));
        let files = plan.stages.iter().map(|stage| (stage.id, Mutex::new(Files::NotYet)));
        Ledger {
            step_reads: step_reads.collect(),
            postponed: Mutex::default(),
            target: plan.target,
            images: plan.images.clone(),
            parents: parents.collect(),
            files: files.collect(),
            books: Mutex::new(Books { drafts: BTreeMap::new(), holders }),
        }
    }

    /// Whether the layers of a stage are layers of an image that the build makes.
    pub(crate) fn is_in_an_image(&self, id: StageId) -> bool {
        let parent = |stage: &StageId| self.parents.get(stage).copied();
        let stages = |image: &StageId| std::iter::successors(Some(*image), parent);
        self.images.iter().flat_map(stages).any(|stage| stage == id)
    }

    /// The image of a finished stage.
    pub(crate) fn draft(&self, id: StageId) -> Option<ImageDraft> {
        self.books().drafts.get(&id).cloned()
    }

    /// The files of a stage, for whoever makes them or looks at them: others wait meanwhile. Who
    /// holds those of a stage may ask for those of its parent, never the other way round.
    pub(crate) fn files(&self, id: StageId) -> Option<MutexGuard<'_, Files>> {
        Some(lock(self.files.get(&id)?))
    }

    /// Whether a stage has files.
    pub(crate) fn has_files(&self, id: StageId) -> bool {
        matches!(self.files(id).as_deref(), Some(Files::Made { .. }))
    }

    /// Notes that a step wrote a layer of so many bytes.
    pub(crate) fn grew(&self, id: StageId, layer: u64) {
        if let Some(Files::Made { bytes }) = self.files(id).as_deref_mut() {
            *bytes = bytes.saturating_add(layer);
        }
    }

    /// Notes a layer of a stage whose files are not wanted yet.
    pub(crate) fn postpone(&self, id: StageId, hit: Hit) {
        lock(&self.postponed).entry(id).or_default().push(hit);
    }

    /// Whether there are such.
    pub(crate) fn has_postponed(&self, id: StageId) -> bool {
        lock(&self.postponed).contains_key(&id)
    }

    /// The layers whose files are wanted now, lowest first.
    pub(crate) fn take_postponed(&self, id: StageId) -> Vec<Hit> {
        lock(&self.postponed).remove(&id).unwrap_or_default()
    }

    /// Whether whoever asks is the last one to hold a stage, and may take its files over.
    pub(crate) fn is_last_holder(&self, id: StageId) -> bool {
        id != self.target && self.books().holders.get(&id) == Some(&1)
    }

    /// Notes that a stage is finished, with what its steps held. Returns the stages whose roots
    /// nobody needs any more.
    pub(crate) fn finish(&self, stage: &StagePlan, draft: ImageDraft) -> Vec<StageId> {
        self.books().drafts.insert(stage.id, draft);
        let mut needless = Vec::new();
        for held in self.step_reads.get(&stage.id).into_iter().flatten() {
            needless.extend(self.let_go(*held));
        }
        // One of several targets, which is an image of its own no longer asked for.
        if !self.books().holders.contains_key(&stage.id) {
            needless.extend(self.drop_files(stage.id));
        }
        needless
    }

    /// One holder less. Returns the stage whose root nobody needs any more, if there is one.
    pub(crate) fn let_go(&self, id: StageId) -> Option<StageId> {
        let mut books = self.books();
        let left = books.holders.get_mut(&id)?;
        *left = left.saturating_sub(1);
        let held = *left > 0;
        drop(books);
        if held { None } else { self.drop_files(id) }
    }

    fn drop_files(&self, id: StageId) -> Option<StageId> {
        if id == self.target {
            return None;
        }
        let before = std::mem::replace(&mut *self.files(id)?, Files::Gone);
        match before {
            Files::Made { .. } => Some(id),
            Files::NotYet => self.let_go(*self.parents.get(&id)?),
            Files::Gone => None,
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }
}

/// A panic in another thread ends the build; until then the books are right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stage that a stage starts from.
fn parent(stage: &StagePlan) -> Option<StageId> {
    match stage.base {
        StageBase::Stage(parent) => Some(parent),
        StageBase::Scratch | StageBase::Image(_) => None,
    }
}

/// The stages that a stage reads, once for every reader, if these of its steps are carried out.
pub(crate) fn reads(stage: &StagePlan, is_open: &impl Fn(&Step) -> bool) -> Vec<StageId> {
    let mut reads = step_reads(stage, is_open);
    reads.extend(parent(stage));
    reads
}

/// The stages that the steps of a stage read, once for every reader.
fn step_reads(stage: &StagePlan, is_open: &impl Fn(&Step) -> bool) -> Vec<StageId> {
    let mut reads = Vec::new();
    for step in stage.steps.iter().filter(|step| is_open(step)) {
        match &step.op {
            Op::Copy(copy) => {
                if let CopySource::Stage(id) = copy.from {
                    reads.push(id);
                }
            }
            Op::Run(run) => {
                for mount in &run.mounts {
                    if let MountSpec::Bind { from: MountSource::Stage(id), .. }
                    | MountSpec::Cache { from: MountSource::Stage(id), .. } = mount
                    {
                        reads.push(*id);
                    }
                }
            }
            Op::Config(_) | Op::Workdir(_) | Op::Add(_) => {}
        }
    }
    reads
}

#[cfg(test)]
mod tests;
