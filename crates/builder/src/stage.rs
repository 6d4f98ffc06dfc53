//! Carries out the stages of a plan, in order, on one blocking thread.
//!
//! A stage's root is made when the first step needs files: a stage of config steps alone pulls no
//! layer. A stage is let go as soon as nothing reads it any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use oci::{ImageDraft, LayerRef};
use plan::{
    BuildPlan, CopySource, HistoryKind, MountSource, MountSpec, Op, StageBase, StageId, StagePlan,
    Step,
};
use rootfs::RootDir;
use run::{ActiveRoot, Isolation, Parent, StageRoots};
use snapshot::{Baseline, Contents};
use sys::StopHandle;

use crate::bases::{Bases, Unpacking};
use crate::blobs::Blobs;
use crate::error::{Error, StepError};
use crate::event::{Event, LayerSummary, Observer};
use crate::request::BuildRequest;
use crate::workspace::Workspace;

/// All that a step may use. It lives on the thread that carries out the stages.
pub(crate) struct Executor<'a> {
    pub request: &'a BuildRequest,
    pub plan: &'a BuildPlan,
    pub bases: &'a Bases,
    pub context: &'a context::BuildContext,
    pub isolation: &'a Isolation,
    pub workspace: &'a Workspace,
    pub blobs: &'a Blobs,
    pub runtime: &'a tokio::runtime::Handle,
    pub observer: &'a Arc<dyn Observer>,
    pub stop: &'a StopHandle,
    pub roots: StageRoots,
    /// Finished stages.
    drafts: BTreeMap<StageId, ImageDraft>,
    /// Stages that have a root, and how many bytes their base's layers have.
    materialised: BTreeMap<StageId, u64>,
    /// How many steps and stages still read each stage.
    readers: BTreeMap<StageId, usize>,
    /// Trees of images that `COPY --from` names.
    pub image_trees: BTreeMap<plan::BaseImageId, RootDir>,
}

/// The stage at work.
pub(crate) struct Current<'a> {
    pub stage: &'a StagePlan,
    pub draft: ImageDraft,
    /// The root, once a step needed it.
    pub root: Option<ActiveRoot>,
    /// What the root looked like when the last layer was made; `None` when steps wrote since.
    pub baseline: Option<Baseline>,
}

/// What a step left, for its history entry and its event.
pub(crate) enum Outcome {
    /// No layer belongs to it.
    Config,
    /// This layer.
    Layer(Box<LayerRef>, LayerSummary),
}

impl<'a> Executor<'a> {
    #[expect(clippy::too_many_arguments, reason = "one constructor of a context struct")]
    pub(crate) fn new(
        request: &'a BuildRequest,
        plan: &'a BuildPlan,
        bases: &'a Bases,
        context: &'a context::BuildContext,
        isolation: &'a Isolation,
        workspace: &'a Workspace,
        blobs: &'a Blobs,
        runtime: &'a tokio::runtime::Handle,
        observer: &'a Arc<dyn Observer>,
        stop: &'a StopHandle,
    ) -> Result<Self, Error> {
        let roots = isolation.stage_roots(workspace.path()).map_err(Error::Stages)?;
        Ok(Executor {
            request,
            plan,
            bases,
            context,
            isolation,
            workspace,
            blobs,
            runtime,
            observer,
            stop,
            roots,
            drafts: BTreeMap::new(),
            materialised: BTreeMap::new(),
            readers: readers(plan),
            image_trees: BTreeMap::new(),
        })
    }

    /// Carries out all stages; returns the target's draft.
    pub(crate) fn all(&mut self) -> Result<ImageDraft, Error> {
        for stage in &self.plan.stages {
            self.stage(stage)?;
        }
        self.drafts.remove(&self.plan.target).ok_or(Error::Worker)
    }

    /// Ends the roots: in place, `/` holds the target's files afterwards unless they are not
    /// wanted.
    pub(crate) fn finish(self, succeeded: bool) -> Result<(), Error> {
        let keep = succeeded && !self.request.outputs.cleanup;
        let last = Some(self.plan.target)
            .filter(|target| keep && self.materialised.contains_key(target))
            .map(|target| target.0);
        self.roots.finish(last).map_err(Error::Stages)
    }

    fn stage(&mut self, stage: &'a StagePlan) -> Result<(), Error> {
        self.observer.observe(&Event::StageStarted {
            index: stage.id.0,
            name: stage.name.clone(),
            base: self.base_name(stage),
        });
        let mut current =
            Current { stage, draft: self.base_draft(stage)?, root: None, baseline: None };
        for edit in &stage.setup {
            current.draft.edit(edit);
        }
        for step in &stage.steps {
            if self.stop.is_stopped() {
                return Err(Error::Stopped);
            }
            self.step(&mut current, step).map_err(|source| match source {
                StepError::Exit { .. } if self.stop.is_stopped() => Error::Stopped,
                StepError::Run { source: run::Error::Stopped { .. }, .. } => Error::Stopped,
                _ if self.stop.is_stopped() => Error::Stopped,
                source => Error::Step { span: step.span, source: Box::new(source) },
            })?;
        }
        for edit in &stage.closing {
            current.draft.edit(edit);
        }
        self.drafts.insert(stage.id, current.draft);
        for read in stage_reads(stage) {
            self.read_done(read).map_err(Error::Stages)?;
        }
        Ok(())
    }

    fn step(&mut self, current: &mut Current<'a>, step: &Step) -> Result<(), StepError> {
        self.observer.observe(&Event::StepStarted { text: step.text.clone() });
        let started = Instant::now();
        let outcome = self.carry_out(current, step)?;
        let history = oci::History {
            created: Some(self.created()),
            created_by: Some(step.created_by.clone()),
            comment: Some(oci::HISTORY_COMMENT.to_owned()),
            ..oci::History::default()
        };
        let layer = match outcome {
            Outcome::Config => {
                if step.history != HistoryKind::None {
                    current.draft.push_empty(history);
                }
                None
            }
            Outcome::Layer(layer, summary) => {
                current.draft.push_layer(*layer, history);
                Some(summary)
            }
        };
        let (text, took) = (step.text.clone(), started.elapsed());
        self.observer.observe(&Event::StepFinished { text, took, layer });
        Ok(())
    }

    /// When image and steps say they were made.
    pub(crate) fn created(&self) -> oci::Timestamp {
        match self.epoch() {
            Some(seconds) => oci::Timestamp::new(seconds, 0),
            None => self.request.now,
        }
    }

    /// SOURCE_DATE_EPOCH: the Dockerfile's or a build argument, else the caller's.
    pub(crate) fn epoch(&self) -> Option<i64> {
        self.plan.epoch.or(self.request.epoch)
    }

    fn base_name(&self, stage: &StagePlan) -> String {
        match &stage.base {
            StageBase::Scratch => "scratch".to_owned(),
            StageBase::Image(id) => {
                self.bases.get(id).map_or_else(|| id.to_string(), |base| base.name.clone())
            }
            StageBase::Stage(id) => {
                let parent = self.plan.stage(*id).and_then(|parent| parent.name.clone());
                parent.unwrap_or_else(|| format!("stage {id}"))
            }
        }
    }

    fn base_draft(&self, stage: &StagePlan) -> Result<ImageDraft, Error> {
        match &stage.base {
            StageBase::Scratch => Ok(ImageDraft::from_scratch(&stage.platform)),
            StageBase::Image(id) => self
                .bases
                .get(id)
                .map(|base| ImageDraft::from_base(&base.image))
                .ok_or(Error::Worker),
            StageBase::Stage(id) => self.drafts.get(id).cloned().ok_or(Error::Worker),
        }
    }

    /// The root of the stage at work, with the base's files in it.
    pub(crate) fn root(&mut self, current: &mut Current<'_>) -> Result<ActiveRoot, StepError> {
        // In place, reading another stage may have parked this one, so it is activated anew.
        let root = match current.root.is_some() {
            true => self.roots.activate(current.stage.id.0).map_err(StepError::Stages)?,
            false => self.materialise(current.stage)?,
        };
        current.root = Some(root.clone());
        Ok(root)
    }

    /// Gives a stage its root: empty, from its base image's layers, or from its parent's root.
    fn materialise(&mut self, stage: &StagePlan) -> Result<ActiveRoot, StepError> {
        if self.materialised.contains_key(&stage.id) {
            return self.roots.activate(stage.id.0).map_err(StepError::Stages);
        }
        let mut bytes = 0;
        if let StageBase::Stage(parent) = stage.base {
            let parent_plan = self.plan.stage(parent);
            let parent_plan = parent_plan.ok_or(StepError::NotImplemented("a missing stage"))?;
            if !self.materialised.contains_key(&parent) {
                self.materialise(parent_plan)?;
            }
            bytes = self.materialised.get(&parent).copied().unwrap_or(0);
            let last_reader = self.readers.get(&parent).copied().unwrap_or(0) <= 1;
            let fate = match last_reader && parent != self.plan.target {
                true => Parent::Finished,
                false => Parent::StillNeeded,
            };
            self.roots.adopt(parent.0, stage.id.0, fate).map_err(StepError::Stages)?;
            if fate == Parent::Finished {
                self.materialised.remove(&parent);
            }
        }
        let root = self.roots.activate(stage.id.0).map_err(StepError::Stages)?;
        self.materialised.insert(stage.id, bytes);
        if let StageBase::Image(id) = &stage.base {
            let unpacked = self.unpack_base(id, &root)?;
            self.materialised.insert(stage.id, unpacked);
        }
        Ok(root)
    }

    /// Puts the files of an image into a root; returns how many bytes its layers have.
    fn unpack_base(&self, id: &plan::BaseImageId, root: &ActiveRoot) -> Result<u64, StepError> {
        let base = self.bases.get(id).ok_or(StepError::NotImplemented("a missing base image"))?;
        let started = Instant::now();
        let unpacked =
            self.unpacking().image(base, &root.dir, &root.protected).map_err(|source| {
                StepError::Base { name: base.name.clone(), source: Box::new(source) }
            })?;
        self.warn_all(unpacked.warnings);
        self.observer.observe(&Event::BaseUnpacked {
            name: base.name.clone(),
            layers: base.image.layers().len(),
            took: started.elapsed(),
        });
        Ok(unpacked.bytes)
    }

    /// How well a snapshot must know the files of a stage. A small base is read once, so that a
    /// file of which only the ctime moved stays out of a layer; a large one would cost more time
    /// than such a file costs space.
    pub(crate) fn contents(&self, stage: StageId) -> Contents {
        match self.materialised.get(&stage) {
            Some(bytes) if *bytes <= READ_WHOLE => Contents::Known,
            Some(_) | None => Contents::Recent,
        }
    }

    pub(crate) fn unpacking(&self) -> Unpacking<'_> {
        let owners = match self.isolation.owners() {
            run::Owners::All | run::Owners::Below(_) => layer::Owners::Keep,
            run::Owners::One => layer::Owners::One(0, 0),
        };
        Unpacking { blobs: self.blobs, runtime: self.runtime, owners, stop: self.stop }
    }

    pub(crate) fn warn_all(&self, warnings: Vec<String>) {
        for warning in warnings {
            self.observer.observe(&Event::Warning(warning));
        }
    }

    /// The files of a finished stage, for `COPY --from`.
    pub(crate) fn stage_tree(&mut self, id: StageId) -> Result<RootDir, StepError> {
        if !self.materialised.contains_key(&id) {
            let stage = self.plan.stage(id).ok_or(StepError::NotImplemented("a missing stage"))?;
            self.materialise(stage)?;
        }
        self.roots.read(id.0).map_err(StepError::Stages)
    }

    /// One reader less; the last one lets the stage go.
    fn read_done(&mut self, id: StageId) -> Result<(), run::Error> {
        let Some(left) = self.readers.get_mut(&id) else { return Ok(()) };
        *left = left.saturating_sub(1);
        if *left == 0 && id != self.plan.target && self.materialised.remove(&id).is_some() {
            self.roots.release(id.0)?;
        }
        Ok(())
    }
}

/// Bases of up to this many bytes are read whole for the first snapshot: a tenth of a second.
const READ_WHOLE: u64 = 256 << 20;

/// The stages that a stage reads, once for every reader.
fn stage_reads(stage: &StagePlan) -> Vec<StageId> {
    let mut reads = Vec::new();
    if let StageBase::Stage(parent) = stage.base {
        reads.push(parent);
    }
    for step in &stage.steps {
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

fn readers(plan: &BuildPlan) -> BTreeMap<StageId, usize> {
    let mut readers = BTreeMap::new();
    for read in plan.stages.iter().flat_map(stage_reads) {
        *readers.entry(read).or_insert(0) += 1;
    }
    readers
}
