//! Carries out the stages of a plan: what they share, and one stage from its base to its image.
//!
//! Stages that do not read each other are at work at the same time where each has a root of its
//! own; `schedule.rs` knows the order, `ledger.rs` what a finished stage leaves, `trees.rs` the
//! roots, `step.rs` what a step does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cache::CacheKey;
use oci::{ImageDraft, LayerRef};
use plan::{BaseImageId, BuildPlan, HistoryKind, StageBase, StageId, StagePlan, Step, StepId};
use rootfs::RootDir;
use run::{ActiveRoot, Afterwards, Isolation, StageRoots};
use snapshot::Baseline;
use sys::StopHandle;

use crate::bases::Bases;
use crate::blobs::Blobs;
use crate::caches::Caches;
use crate::cores::Cores;
use crate::error::{Error, StepError};
use crate::event::{Event, LayerSummary, Observer, StageName};
use crate::ledger::{Ledger, reads};
use crate::probe::Prober;
use crate::request::BuildRequest;
use crate::reuse::Answer;
use crate::schedule::Schedule;
use crate::uploads::Uploads;
use crate::workspace::Workspace;

/// All that a step may use, shared by the stages at work. What a stage changes is its own
/// [`Current`]; what it leaves to others goes into the ledger.
pub(crate) struct Executor<'a> {
    pub request: &'a BuildRequest,
    pub plan: &'a BuildPlan,
    pub bases: &'a Bases,
    pub context: &'a context::BuildContext,
    pub isolation: &'a Isolation,
    pub workspace: &'a Workspace,
    pub blobs: &'a Blobs,
    pub uploads: &'a Uploads,
    pub runtime: &'a tokio::runtime::Handle,
    pub observer: &'a Arc<dyn Observer>,
    /// Of the stages alone: the first one that fails stops the others.
    pub stop: &'a StopHandle,
    pub cores: Cores,
    pub roots: StageRoots,
    pub caches: Caches,
    pub ledger: Ledger,
    /// Which stages each waits for.
    waits: BTreeMap<StageId, BTreeSet<StageId>>,
    /// Who asks the cache for results of steps.
    pub prober: Option<Prober<'a>>,
    /// Trees of images that `COPY --from` names, once a step needed them.
    pub image_trees: BTreeMap<BaseImageId, Mutex<Option<RootDir>>>,
}

/// A stage at work.
pub(crate) struct Current<'a> {
    pub stage: &'a StagePlan,
    pub name: StageName,
    pub draft: ImageDraft,
    /// What the state is known by in the cache; nothing without one.
    pub state: Option<CacheKey>,
    /// The root, once a step needed it.
    pub root: Option<ActiveRoot>,
    /// What the root looked like when the last layer was made; `None` when steps wrote since.
    pub baseline: Option<Baseline>,
}

/// What a step left, for its history entry and its event.
pub(crate) enum Outcome {
    /// No layer belongs to it.
    Config,
    /// A layer that was written.
    Layer(Box<Sealed>),
}

/// A layer of a step, as it is in the store.
pub(crate) struct Sealed {
    pub layer: LayerRef,
    pub summary: LayerSummary,
    /// Bytes of its tar.
    pub uncompressed: u64,
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
        uploads: &'a Uploads,
        runtime: &'a tokio::runtime::Handle,
        observer: &'a Arc<dyn Observer>,
        stop: &'a StopHandle,
        caching: Option<(Prober<'a>, &'a BTreeSet<StepId>)>,
    ) -> Result<Self, Error> {
        let is_open = |step: &Step| caching.is_none_or(|(_, open)| open.contains(&step.id));
        let waits = plan.stages.iter().map(|stage| (stage.id, reads(stage, &is_open)));
        let waits = waits.map(|(id, reads)| (id, reads.into_iter().collect())).collect();
        let roots = isolation.stage_roots(workspace.path()).map_err(Error::Stages)?;
        Ok(Executor {
            request,
            plan,
            bases,
            context,
            isolation,
            workspace,
            blobs,
            uploads,
            runtime,
            observer,
            stop,
            cores: Cores::new(request.threads),
            roots,
            caches: Caches::new(&request.state_dir, &request.build_id),
            ledger: Ledger::new(plan, &is_open),
            prober: caching.map(|(prober, _)| prober),
            waits,
            image_trees: bases.keys().map(|id| (id.clone(), Mutex::default())).collect(),
        })
    }

    /// Carries out all stages; returns the drafts of the images. Of several stages that fail before the
    /// first failure stops them, the earliest is the one that is told.
    pub(crate) fn all(&self) -> Result<Vec<ImageDraft>, Error> {
        let schedule = Schedule::new(self.waits.clone());
        let workers = match self.roots.are_separate() {
            true => self.request.max_parallel_stages,
            false => 1,
        };
        if self.request.outputs.materialize && self.roots.are_separate() {
            self.warn_all(vec![
                "--materialize: the files are in a private root here, and go with the build; \
                 --isolation=in-place leaves them in `/`"
                    .to_owned(),
            ]);
        }
        self.observer.observe(&Event::Scheduled { at_once: schedule.at_once(workers) });
        let failures = schedule.run(workers, |id| self.stage(id), || self.stop.stop());
        let told = failures.into_values().min_by_key(|error| matches!(error, Error::Stopped));
        match told {
            Some(error) => Err(error),
            None => {
                let drafts = self.plan.images.iter().map(|id| self.ledger.draft(*id));
                drafts.collect::<Option<Vec<_>>>().ok_or(Error::Worker)
            }
        }
    }

    /// Ends the roots: in place, `/` holds the target's files afterwards unless they are not
    /// wanted. Roots of their own are given back after a success: removing them can wait.
    pub(crate) fn finish(self, succeeded: bool) -> Result<Option<StageRoots>, Error> {
        if succeeded && self.roots.are_separate() {
            return Ok(Some(self.roots));
        }
        let outputs = &self.request.outputs;
        let afterwards = match (succeeded, outputs.cleanup) {
            (true, false) if self.ledger.has_files(self.plan.target) => {
                Afterwards::Stage(self.plan.target.0)
            }
            (true, true) if !outputs.restore => Afterwards::Empty,
            // After a failure nobody has an image for what was there.
            (true | false, _) => Afterwards::AsBefore,
        };
        self.roots.finish(afterwards).map_err(Error::Stages)?;
        Ok(None)
    }

    fn stage(&self, id: StageId) -> Result<(), Error> {
        let stage = self.plan.stage(id).ok_or(Error::Worker)?;
        let name = StageName::of(stage);
        self.observer
            .observe(&Event::StageStarted { stage: name.clone(), base: self.base_name(stage) });
        let draft = self.base_draft(stage)?;
        let state = self.prober.as_ref().and_then(|prober| prober.start(stage));
        let mut current = Current { stage, name, draft, state, root: None, baseline: None };
        for edit in &stage.setup {
            current.draft.edit(edit);
        }
        for step in &stage.steps {
            if self.stop.is_stopped() {
                return Err(Error::Stopped);
            }
            self.step(&mut current, step).map_err(|source| match source {
                StepError::Run { source: run::Error::Stopped { .. }, .. } => Error::Stopped,
                _ if self.stop.is_stopped() => Error::Stopped,
                source => Error::Step { span: step.span, source: Box::new(source) },
            })?;
        }
        if self.request.outputs.materialize && id == self.plan.target {
            self.root(&mut current).map_err(|source| match source {
                _ if self.stop.is_stopped() => Error::Stopped,
                source => Error::Step { span: stage.span, source: Box::new(source) },
            })?;
        }
        for edit in &stage.closing {
            current.draft.edit(edit);
        }
        if let Some((prober, state)) = self.prober.as_ref().zip(current.state) {
            prober.results.set_state(stage.id, state);
        }
        let needless = self.ledger.finish(stage, current.draft);
        self.release(needless).map_err(Error::Stages)
    }

    fn step(&self, current: &mut Current<'a>, step: &Step) -> Result<(), StepError> {
        self.observer
            .observe(&Event::StepStarted { stage: current.name.clone(), text: step.text.clone() });
        let history = oci::History {
            created: Some(self.created()),
            created_by: Some(step.created_by.clone()),
            comment: Some(oci::HISTORY_COMMENT.to_owned()),
            ..oci::History::default()
        };
        let (keys, reads) = match self.consult(current, step)? {
            Answer::Have(hit) => {
                self.take(current, step, &hit);
                if self.blobs.can_be_located(&hit.cached.layer.descriptor.digest) {
                    self.upload(current, &hit.cached.layer.descriptor);
                }
                step.edits().iter().for_each(|edit| current.draft.edit(edit));
                current.draft.push_layer(hit.cached.layer, history);
                return Ok(());
            }
            Answer::Build(keys, reads) => {
                self.tell_miss(current, step);
                (keys, reads)
            }
        };
        let started = Instant::now();
        let reads = match reads {
            Some(reads) => reads,
            None => self.reads(current, step)?,
        };
        let outcome = self.carry_out(current, step, &reads)?;
        self.put_away(current.stage.id, &reads)?;
        let layer = match outcome {
            Outcome::Config => {
                if step.history != HistoryKind::None {
                    current.draft.push_empty(history);
                }
                None
            }
            Outcome::Layer(sealed) => {
                self.ledger.grew(current.stage.id, sealed.uncompressed);
                let uploading = self.upload(current, &sealed.layer.descriptor);
                match &keys {
                    Some(keys) => self.remember(current, step, &sealed, keys, uploading),
                    // What comes after has no key either.
                    None => current.state = None,
                }
                current.draft.push_layer(sealed.layer, history);
                Some(sealed.summary)
            }
        };
        let (stage, text) = (current.name.clone(), step.text.clone());
        let took = started.elapsed();
        self.observer.observe(&Event::StepFinished { stage, text, took, layer });
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
            StageBase::Stage(id) => self.ledger.draft(*id).ok_or(Error::Worker),
        }
    }

    pub(crate) fn warn_all(&self, warnings: Vec<String>) {
        for warning in warnings {
            self.observer.observe(&Event::Warning(warning));
        }
    }
}
