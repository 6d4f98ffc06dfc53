//! From the stages of a plan to images: the part of a build that blocks.
//!
//! Asks the cache first, then carries out what is left. `build.rs` comes before and after, `stage.rs`
//! is what happens to one stage.

use std::sync::Arc;

use oci::{Image, ImageDraft};
use run::{Afterwards, Isolation, StageRoots};
use sys::StopHandle;

use crate::blobs::Blobs;
use crate::error::Error;
use crate::event::{Event, Observer, StageName};
use crate::prepare::Prepared;
use crate::probe::Prober;
use crate::publish;
use crate::request::BuildRequest;
use crate::results::Results;
use crate::sources::Reader;
use crate::stage::Executor;
use crate::uploads::Uploads;
use crate::workspace::Workspace;

/// What the blocking part of a build owns.
pub(crate) struct Stages {
    pub request: BuildRequest,
    pub prepared: Prepared,
    pub context: context::BuildContext,
    pub isolation: Arc<Isolation>,
    pub workspace: Workspace,
    pub blobs: Blobs,
    pub uploads: Uploads,
    pub results: Option<Results>,
}

/// What of it the outputs still need, and what they do not.
pub(crate) struct Rest {
    pub request: BuildRequest,
    pub blobs: Blobs,
    pub leftover: Leftover,
    pub results: Option<Results>,
}

/// The files of a build that is done.
pub(crate) struct Leftover {
    /// Roots of stages, where they are not the container's own.
    roots: Option<StageRoots>,
    workspace: Workspace,
}

impl Leftover {
    pub(crate) fn remove(self) -> Result<(), Error> {
        let removed = self.roots.map_or(Ok(()), |roots| roots.finish(Afterwards::AsBefore));
        drop(self.workspace);
        removed.map_err(Error::Stages)
    }
}

impl Stages {
    pub(crate) fn carry_out(
        self,
        runtime: &tokio::runtime::Handle,
        observer: &Arc<dyn Observer>,
        stop: &StopHandle,
    ) -> Result<(Vec<Image>, Rest), Error> {
        let made = self.images(runtime, observer, stop);
        if let (Err(_), Some(results), false) = (&made, &self.results, stop.is_stopped()) {
            // What was built before the failure need not be built again.
            runtime.block_on(results.kept());
        }
        let (images, roots) = made?;
        let Stages { request, blobs, workspace, results, .. } = self;
        Ok((images, Rest { request, blobs, leftover: Leftover { roots, workspace }, results }))
    }

    fn images(
        &self,
        runtime: &tokio::runtime::Handle,
        observer: &Arc<dyn Observer>,
        stop: &StopHandle,
    ) -> Result<(Vec<Image>, Option<StageRoots>), Error> {
        let stop = stop.below().map_err(|errno| Error::Handle(errno.into()))?;
        let Prepared { plan, bases } = &self.prepared;
        let prober = self.results.as_ref().map(|results| Prober {
            request: &self.request,
            plan,
            bases,
            reader: Reader {
                context: &self.context,
                threads: self.request.threads,
                stop: &stop,
                seen: &results.seen,
            },
            results,
            runtime,
            workspace: &self.workspace,
        });
        let remainder = prober.map(|prober| prober.probe());
        for id in remainder.iter().flat_map(|remainder| &remainder.needless) {
            let stage = plan.stage(*id).map(StageName::of);
            stage.into_iter().for_each(|stage| observer.observe(&Event::StageNeedless { stage }));
        }
        let executor = Executor::new(
            &self.request,
            remainder.as_ref().map_or(plan, |remainder| &remainder.plan),
            bases,
            &self.context,
            &self.isolation,
            &self.workspace,
            &self.blobs,
            &self.uploads,
            runtime,
            observer,
            &stop,
            prober.zip(remainder.as_ref().map(|remainder| &remainder.open)),
        )?;
        let drafts = executor.all();
        let created = executor.created();
        // The roots are put in order on every way out; the first failure is the one that is told.
        let finished = executor.finish(drafts.is_ok());
        let drafts = drafts?;
        let roots = finished?;
        if let Some(results) = &self.results {
            results.keep_made_of(plan, self.blobs.store());
        }
        let image = |mut draft: ImageDraft| {
            draft.set_created(Some(created));
            draft.annotate(&self.request.annotations);
            let format = publish::format(&self.request, draft.base_format());
            draft.finish(format)
        };
        Ok((drafts.into_iter().map(image).collect(), roots))
    }
}
