//! One build from its request to its outputs: the order of things.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dockerfile::Span;
use oci::{Digest, Image, ImageDraft};
use plan::{BuildPlan, Op, Unimplemented};
use registry::Client;
use run::{Afterwards, Isolation, StageRoots};
use sys::StopHandle;

use crate::bases::Bases;
use crate::blobs::Blobs;
use crate::digests::Web;
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::foreign;
use crate::prepare::{Prepared, prepare};
use crate::product::{PlatformImage, Product};
use crate::publish;
use crate::request::{BuildRequest, Outputs};
use crate::stage::Executor;
use crate::uploads::Uploads;
use crate::workspace::{Workspace, forget_blobs};

/// A finished build.
#[derive(Debug)]
pub struct BuildOutcome {
    /// By which the image is known, or the index of several.
    pub digest: Digest,
    /// The images, one for each platform.
    pub images: Vec<Image>,
    /// How long it took.
    pub took: Duration,
}

/// The text of the Dockerfile, for showing lines of it; `None` if it cannot be read.
#[must_use]
pub fn dockerfile_text(request: &BuildRequest) -> Option<String> {
    let context = rootfs::RootDir::open(&request.context).ok()?;
    let text = context::read_dockerfile(&context, &request.dockerfile).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Makes the plan of a build and nothing else; base images' documents are asked for.
///
/// Steps that cannot be carried out yet stay in the plan: it is only read.
pub async fn plan_only(
    request: &BuildRequest,
    observer: &Arc<dyn Observer>,
) -> Result<BuildPlan, Error> {
    let context = context::open_directory(&request.context, &request.dockerfile)?;
    let client =
        Client::new(request.pull.clone()).map_err(|source| Error::Client(Box::new(source)))?;
    let any = |_| Ok(());
    let prepared = prepare(request, &context, &client, observer, Unimplemented::Plan, &any).await?;
    Ok(prepared.plan)
}

/// Builds an image, or one for each platform, and hands it to every output.
///
/// `isolation` comes from [`run::enter`], which must run before the runtime has threads.
pub async fn build(
    request: BuildRequest,
    isolation: Isolation,
    observer: Arc<dyn Observer>,
    stop: StopHandle,
) -> Result<BuildOutcome, Error> {
    let started = Instant::now();
    if request.platforms.len() > 1 && request.outputs.index.is_none() {
        return Err(Error::NotJoined);
    }
    let push = push_client(&request)?;
    let built = build_product(request, isolation, &observer, &stop, push.as_ref()).await;
    if let (Err(_), Some(client)) = (&built, &push) {
        // Registries shall not keep what was begun for an image that will not be.
        client.abandon_uploads().await;
    }
    let product = built?;
    let images = product.images.into_iter().map(|one| one.image).collect();
    Ok(BuildOutcome { digest: product.digest, images, took: started.elapsed() })
}

async fn build_product(
    request: BuildRequest,
    isolation: Isolation,
    observer: &Arc<dyn Observer>,
    stop: &StopHandle,
    push: Option<&Client>,
) -> Result<Product, Error> {
    let workspace = Workspace::create(&request.state_dir, &request.build_id)?
        .with_table(isolation.attribute_table());
    let context = context::open_directory(&request.context, &request.dockerfile)?;
    let pull =
        Client::new(request.pull.clone()).map_err(|source| Error::Client(Box::new(source)))?;
    let blobs = Blobs::new(pull.clone(), workspace.store().clone());
    let runnable = |span| isolation.can_run().map_err(|source| Error::CannotRun { span, source });
    let (checked, prepared) = (
        check_push(&request.outputs, push),
        prepare(&request, &context, &pull, observer, Unimplemented::Refuse, &runnable),
    );
    let (prepared, ()) = or_stopped(stop, async { tokio::try_join!(prepared, checked) }).await?;
    check_runnable(&prepared.plan, &runnable)?;
    let emulated = foreign::check(&request, &prepared.plan, &prepared.bases, &isolation)?;
    for (platform, emulator) in emulated {
        let text = format!("RUN steps for {platform} are run under emulation: {emulator}");
        observer.observe(&Event::Warning(text));
    }
    // From here on an image's files may lie in `/`.
    request.pull.keychain.seal().await;
    request.push.keychain.seal().await;
    for base in prepared.bases.values() {
        for layer in base.image.layers() {
            blobs.note(&layer.descriptor.digest, &base.repository);
        }
    }
    let runtime = tokio::runtime::Handle::current();
    let uploads = Uploads::new(push, &request.outputs, &blobs, runtime.clone());
    let early = uploads.clone();
    let stages = Stages { request, prepared, context, isolation, workspace, blobs, uploads: early };
    let (told, halt) = (Arc::clone(observer), stop.clone());
    let (images, rest) =
        tokio::task::spawn_blocking(move || stages.carry_out(&runtime, &told, &halt))
            .await
            .map_err(|_| Error::Worker)??;
    let Rest { request, blobs, leftover } = rest;
    let product = Product::new(images, &request)?;
    tell(&product, observer);
    // Removing a large root takes as long as pushing its layers, and neither needs the other.
    let removed = tokio::task::spawn_blocking(move || leftover.remove());
    let push = push.map(|client| publish::Push { client, uploads: &uploads });
    let web = Web { settings: &request.push.http, retry: &request.push.retry };
    let published = publish::publish(&product, &request.outputs, push, &blobs, observer, web);
    let published = or_stopped(stop, published).await;
    let removed = removed.await.map_err(|_| Error::Worker)?;
    published.and(removed)?;
    if request.outputs.cleanup {
        forget_blobs(&request.state_dir)?;
    }
    Ok(product)
}

fn tell(product: &Product, observer: &Arc<dyn Observer>) {
    for PlatformImage { platform, image } in &product.images {
        let platform = product.index.as_ref().map(|_| platform.to_string());
        let digest = image.digest().to_string();
        observer.observe(&Event::ImageFinished { digest, platform });
    }
    if let Some(index) = &product.index {
        observer.observe(&Event::IndexFinished { digest: index.digest().to_string() });
    }
}

fn push_client(request: &BuildRequest) -> Result<Option<Client>, Error> {
    match request.outputs.push {
        true => Client::new(request.push.clone())
            .map(Some)
            .map_err(|source| Error::Client(Box::new(source))),
        false => Ok(None),
    }
}

/// Fails before the build if a registry would refuse the push after it. Without the check, the
/// credential helpers are still asked now.
pub(crate) async fn check_push(outputs: &Outputs, client: Option<&Client>) -> Result<(), Error> {
    let Some(client) = client else { return Ok(()) };
    for destination in &outputs.destinations {
        if !outputs.check_push {
            let (registry, repository) = (destination.registry(), destination.repository());
            client.options().keychain.ask_programs(registry, repository).await;
            continue;
        }
        client.check_push(destination).await.map_err(|source| Error::CheckPush {
            destination: destination.to_string(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// A plan with RUN where no program can be run: one that only a base image's trigger brings.
fn check_runnable(
    plan: &BuildPlan,
    runnable: &dyn Fn(Span) -> Result<(), Error>,
) -> Result<(), Error> {
    let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
    let first = steps.into_iter().find(|step| matches!(step.op, Op::Run(_)));
    match first {
        Some(step) => runnable(step.span),
        None => Ok(()),
    }
}

/// Gives up on network work as soon as the build is asked to stop.
pub(crate) async fn or_stopped<T>(
    stop: &StopHandle,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = stopped(stop) => Err(Error::Stopped),
        done = work => done,
    }
}

/// Waits until the build is asked to stop.
pub(crate) async fn stopped(stop: &StopHandle) {
    while !stop.is_stopped() {
        tokio::time::sleep(STOP_POLL).await;
    }
}

/// How soon network work notices that it should end.
const STOP_POLL: Duration = Duration::from_millis(50);

/// What the blocking part of a build owns.
struct Stages {
    request: BuildRequest,
    prepared: Prepared,
    context: context::BuildContext,
    isolation: Isolation,
    workspace: Workspace,
    blobs: Blobs,
    uploads: Uploads,
}

/// What of it the outputs still need, and what they do not.
struct Rest {
    request: BuildRequest,
    blobs: Blobs,
    leftover: Leftover,
}

/// The files of a build that is done.
struct Leftover {
    /// Roots of stages, where they are not the container's own.
    roots: Option<StageRoots>,
    workspace: Workspace,
}

impl Leftover {
    fn remove(self) -> Result<(), Error> {
        let removed = self.roots.map_or(Ok(()), |roots| roots.finish(Afterwards::AsBefore));
        drop(self.workspace);
        removed.map_err(Error::Stages)
    }
}

impl Stages {
    fn carry_out(
        self,
        runtime: &tokio::runtime::Handle,
        observer: &Arc<dyn Observer>,
        stop: &StopHandle,
    ) -> Result<(Vec<Image>, Rest), Error> {
        let Prepared { plan, bases } = &self.prepared;
        let (images, roots) = self.images(plan, bases, runtime, observer, stop)?;
        let Stages { request, blobs, workspace, .. } = self;
        Ok((images, Rest { request, blobs, leftover: Leftover { roots, workspace } }))
    }

    fn images(
        &self,
        plan: &BuildPlan,
        bases: &Bases,
        runtime: &tokio::runtime::Handle,
        observer: &Arc<dyn Observer>,
        stop: &StopHandle,
    ) -> Result<(Vec<Image>, Option<StageRoots>), Error> {
        let stop = stop.below().map_err(|errno| Error::Handle(errno.into()))?;
        let executor = Executor::new(
            &self.request,
            plan,
            bases,
            &self.context,
            &self.isolation,
            &self.workspace,
            &self.blobs,
            &self.uploads,
            runtime,
            observer,
            &stop,
        )?;
        let drafts = executor.all();
        let created = executor.created();
        // The roots are put in order on every way out; the first failure is the one that is told.
        let finished = executor.finish(drafts.is_ok());
        let drafts = drafts?;
        let roots = finished?;
        let image = |mut draft: ImageDraft| {
            draft.set_created(Some(created));
            draft.annotate(&self.request.annotations);
            let format = publish::format(&self.request, draft.base_format());
            draft.finish(format)
        };
        Ok((drafts.into_iter().map(image).collect(), roots))
    }
}
