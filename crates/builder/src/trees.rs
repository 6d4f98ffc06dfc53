//! The trees that steps work on and read: roots of stages, images unpacked beside them.
//!
//! A tree is made when the first step needs it, and once, however many stages want it at a time.

use std::sync::PoisonError;
use std::time::Instant;

use plan::{BaseImageId, StageBase, StageId, StagePlan};
use rootfs::{Protected, RootDir};
use run::{ActiveRoot, Parent};
use snapshot::Contents;

use crate::bases::Unpacking;
use crate::error::StepError;
use crate::event::{Event, StageName};
use crate::ledger::Files;
use crate::results::Hit;
use crate::stage::{Current, Executor};

/// Roots of up to this many bytes are read whole for the first snapshot: a tenth of a second.
const READ_WHOLE: u64 = 256 << 20;

impl Executor<'_> {
    /// The root of the stage at work, with the base's files in it.
    pub(crate) fn root(&self, current: &mut Current<'_>) -> Result<ActiveRoot, StepError> {
        if current.root.is_none() || self.ledger.has_postponed(current.stage.id) {
            self.make_files(current.stage)?;
            current.baseline = None;
        }
        // In place, reading another stage may have parked this one, so it is activated anew.
        let root = self.roots.activate(current.stage.id.0).map_err(StepError::Stages)?;
        current.root = Some(root.clone());
        Ok(root)
    }

    /// The files of a finished stage, for `COPY --from`.
    pub(crate) fn stage_tree(&self, id: StageId) -> Result<RootDir, StepError> {
        self.make_files(self.planned(id)?)?;
        self.roots.read(id.0).map_err(StepError::Stages)
    }

    /// The files of an image that no stage starts from, unpacked once per build.
    pub(crate) fn image_tree(&self, id: &BaseImageId) -> Result<RootDir, StepError> {
        let missing = StepError::NotImplemented("a missing image");
        let Some((base, tree)) = self.bases.get(id).zip(self.image_trees.get(id)) else {
            return Err(missing);
        };
        let mut tree = tree.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = &*tree {
            return Ok(tree.clone());
        }
        let number = self.bases.range(..id).count();
        let made = self.new_root(&format!("images/{number}"))?;
        let unpacked =
            self.unpacking().image(base, &made, &Protected::none()).map_err(|source| {
                StepError::Base { name: base.name.clone(), source: Box::new(source) }
            })?;
        self.warn_all(unpacked.warnings);
        Ok(tree.insert(made).clone())
    }

    /// A root for a step of a stage, beside the stage's own; steps of other stages never see it.
    pub(crate) fn side_root(&self, stage: StageId, name: &str) -> Result<RootDir, StepError> {
        self.new_root(&side_name(stage, name))
    }

    fn new_root(&self, name: &str) -> Result<RootDir, StepError> {
        self.workspace.side_root(name).map_err(|error| StepError::Workspace(Box::new(error)))
    }

    /// How well a snapshot must know the files of a stage. A small root is read once, so that a
    /// file of which only the ctime moved stays out of a layer; a large one would cost more time
    /// than such a file costs space.
    pub(crate) fn contents(&self, stage: StageId) -> Contents {
        match self.ledger.files(stage).as_deref() {
            Some(Files::Made { bytes }) if *bytes <= READ_WHOLE => Contents::Known,
            Some(_) | None => Contents::Recent,
        }
    }

    /// Gives a stage its root, unless it has one, and puts into it what the cache had.
    fn make_files(&self, stage: &StagePlan) -> Result<u64, StepError> {
        let missing = StepError::NotImplemented("a missing stage");
        let mut files = self.ledger.files(stage.id).ok_or(missing)?;
        let mut bytes = match *files {
            Files::Made { bytes } => bytes,
            Files::Gone => {
                return Err(StepError::NotImplemented("the files of a stage that is gone"));
            }
            Files::NotYet => self.fill(stage)?,
        };
        *files = Files::Made { bytes };
        let postponed = self.ledger.take_postponed(stage.id);
        if !postponed.is_empty() {
            bytes = bytes.saturating_add(self.unpack_cached(stage, &postponed)?);
            *files = Files::Made { bytes };
        }
        Ok(bytes)
    }

    /// Puts the files of layers that the cache had into a root.
    fn unpack_cached(&self, stage: &StagePlan, hits: &[Hit]) -> Result<u64, StepError> {
        let root = self.roots.activate(stage.id.0).map_err(StepError::Stages)?;
        let started = Instant::now();
        let unpacked = self
            .unpacking()
            .cached(hits, &root.dir, &root.protected)
            .map_err(|source| StepError::Cached(Box::new(source)))?;
        self.warn_all(unpacked.warnings);
        self.observer.observe(&Event::CacheUnpacked {
            stage: StageName::of(stage),
            layers: hits.len(),
            took: started.elapsed(),
        });
        Ok(unpacked.bytes)
    }

    /// Makes a root: empty, from a base image's layers, or from a parent's root. Returns how many
    /// bytes the layers have.
    fn fill(&self, stage: &StagePlan) -> Result<u64, StepError> {
        match &stage.base {
            StageBase::Scratch => {
                self.roots.activate(stage.id.0).map_err(StepError::Stages)?;
                Ok(0)
            }
            StageBase::Image(id) => {
                let root = self.roots.activate(stage.id.0).map_err(StepError::Stages)?;
                self.unpack_base(stage, id, &root)
            }
            StageBase::Stage(parent) => self.adopt(*parent, stage.id),
        }
    }

    /// Takes a parent's files over, or a copy of them while others still hold the parent.
    fn adopt(&self, parent: StageId, stage: StageId) -> Result<u64, StepError> {
        let bytes = self.make_files(self.planned(parent)?)?;
        let fate = match self.ledger.is_last_holder(parent) {
            true => Parent::Finished,
            false => Parent::StillNeeded,
        };
        self.roots.adopt(parent.0, stage.0, fate).map_err(StepError::Stages)?;
        if fate == Parent::Finished
            && let Some(mut files) = self.ledger.files(parent)
        {
            *files = Files::Gone;
        }
        self.release(self.ledger.let_go(parent)).map_err(StepError::Stages)?;
        Ok(bytes)
    }

    /// Removes roots that nobody needs any more.
    pub(crate) fn release(
        &self,
        needless: impl IntoIterator<Item = StageId>,
    ) -> Result<(), run::Error> {
        needless.into_iter().try_for_each(|stage| self.roots.release(stage.0))
    }

    fn planned(&self, id: StageId) -> Result<&StagePlan, StepError> {
        self.plan.stage(id).ok_or(StepError::NotImplemented("a missing stage"))
    }

    /// Puts the files of an image into a stage's root.
    fn unpack_base(
        &self,
        stage: &StagePlan,
        id: &BaseImageId,
        root: &ActiveRoot,
    ) -> Result<u64, StepError> {
        let base = self.bases.get(id).ok_or(StepError::NotImplemented("a missing base image"))?;
        let started = Instant::now();
        let unpacked =
            self.unpacking().image(base, &root.dir, &root.protected).map_err(|source| {
                StepError::Base { name: base.name.clone(), source: Box::new(source) }
            })?;
        self.warn_all(unpacked.warnings);
        self.observer.observe(&Event::BaseUnpacked {
            stage: StageName::of(stage),
            name: base.name.clone(),
            layers: base.image.layers().len(),
            took: started.elapsed(),
        });
        Ok(unpacked.bytes)
    }

    fn unpacking(&self) -> Unpacking<'_> {
        let owners = match self.isolation.owners() {
            run::Owners::All | run::Owners::Below(_) => layer::Owners::Keep,
            run::Owners::One => layer::Owners::One(0, 0),
        };
        Unpacking { blobs: self.blobs, runtime: self.runtime, owners, stop: self.stop }
    }
}

/// Where a stage's side root of this name lies in the build's directory.
pub(crate) fn side_name(stage: StageId, name: &str) -> String {
    format!("side/{stage}/{name}")
}
