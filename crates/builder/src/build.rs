//! One build from its request to its outputs: the order of things.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dockerfile::Span;
use oci::{Digest, Image};
use plan::{BuildPlan, Op, Unimplemented};
use registry::Client;
use run::Isolation;
use sys::StopHandle;

use crate::blobs::Blobs;
use crate::digests::Web;
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::foreign;
use crate::images::{Rest, Stages};
use crate::layer_cache;
use crate::prepare::prepare;
use crate::product::{PlatformImage, Product};
use crate::publish;
use crate::request::{BuildRequest, Outputs};
use crate::results::{Distrusted, Results};
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
    let isolation = Arc::new(isolation);
    let (distrusted, trying) = (Distrusted::default(), (push.as_ref(), &isolation));
    let built = loop {
        let known = distrusted.count();
        let built = build_product(request.clone(), trying, &observer, &stop, &distrusted).await;
        match &built {
            // Each try trusts the cache in less than the one before.
            Err(_) if distrusted.count() > known && !stop.is_stopped() => {
                let text = "a cached layer is not what the cache said; building without it";
                observer.observe(&Event::Warning(text.to_owned()));
            }
            Ok(_) | Err(_) => break built,
        }
    };
    if let (Err(_), Some(client)) = (&built, &push) {
        // Registries shall not keep what was begun for an image that will not be.
        client.abandon_uploads().await;
    }
    let product = built?;
    let images = product.images.into_iter().map(|one| one.image).collect();
    Ok(BuildOutcome { digest: product.digest, images, took: started.elapsed() })
}

/// One try of a build.
async fn build_product(
    request: BuildRequest,
    (push, isolation): (Option<&Client>, &Arc<Isolation>),
    observer: &Arc<dyn Observer>,
    stop: &StopHandle,
    distrusted: &Distrusted,
) -> Result<Product, Error> {
    let (stages, uploads) =
        ready(request, (push, isolation), observer, stop, distrusted.clone()).await?;
    let (told, halt) = (Arc::clone(observer), stop.clone());
    let runtime = tokio::runtime::Handle::current();
    let (images, rest) =
        tokio::task::spawn_blocking(move || stages.carry_out(&runtime, &told, &halt))
            .await
            .map_err(|_| Error::Worker)??;
    let Rest { request, blobs, leftover, results } = rest;
    let product = Product::new(images, &request)?;
    tell(&product, observer);
    // Removing a large root takes as long as pushing its layers, and neither needs the other.
    let removed = tokio::task::spawn_blocking(move || leftover.remove());
    let push = push.map(|client| publish::Push { client, uploads: &uploads });
    let published = hand_over(&product, &request, push, &blobs, observer, results.as_ref());
    let kept = async {
        if let Some(results) = &results {
            results.kept().await;
        }
    };
    let both = async { tokio::join!(published, kept).0 };
    let published = or_stopped(stop, both).await;
    let removed = removed.await.map_err(|_| Error::Worker)?;
    published.and(removed)?;
    if request.outputs.cleanup {
        forget_blobs(&request.state_dir)?;
    }
    Ok(product)
}

/// Gets everything ready for the stages: the plan, the images' documents, the cache. From then on an
/// image's files may lie in `/`, and no program is asked for credentials any more.
async fn ready(
    request: BuildRequest,
    (push, isolation): (Option<&Client>, &Arc<Isolation>),
    observer: &Arc<dyn Observer>,
    stop: &StopHandle,
    distrusted: Distrusted,
) -> Result<(Stages, Uploads), Error> {
    let workspace = Workspace::create(&request.state_dir, &request.build_id)?
        .with_table(isolation.attribute_table());
    let context = context::open_directory(&request.context, &request.dockerfile)?;
    let pull =
        Client::new(request.pull.clone()).map_err(|source| Error::Client(Box::new(source)))?;
    let blobs = Blobs::new(pull.clone(), workspace.store().clone(), distrusted.clone());
    let runnable = |span| isolation.can_run().map_err(|source| Error::CannotRun { span, source });
    let (checked, prepared, cache) = (
        check_push(&request.outputs, push),
        prepare(&request, &context, &pull, observer, Unimplemented::Refuse, &runnable),
        layer_cache::open(&request, push),
    );
    let all = async { tokio::try_join!(prepared, checked, cache) };
    let (prepared, (), cache) = or_stopped(stop, all).await?;
    check_runnable(&prepared.plan, &runnable)?;
    let emulated = foreign::check(&request, &prepared.plan, &prepared.bases, isolation)?;
    for (platform, emulator) in emulated {
        let text = format!("RUN steps for {platform} are run under emulation: {emulator}");
        observer.observe(&Event::Warning(text));
    }
    request.pull.keychain.seal().await;
    request.push.keychain.seal().await;
    prepared.bases.values().for_each(|base| blobs.note_base(base));
    let runtime = tokio::runtime::Handle::current();
    let mut results = cache.map(|cache| {
        let epoch = prepared.plan.epoch.or(request.epoch);
        Results::new(cache, &request, epoch, distrusted, runtime.clone())
    });
    if let Some(results) = &mut results {
        results.recall(blobs.store()).await;
    }
    let uploads = Uploads::new(push, &request.outputs, &blobs, runtime);
    let (early, isolation) = (uploads.clone(), Arc::clone(isolation));
    let stages =
        Stages { request, prepared, context, isolation, workspace, blobs, uploads: early, results };
    Ok((stages, uploads))
}

/// Hands the product to every output. A push that fails may do so for a layer that the cache had: with
/// all of those here that is known, and the second time tells.
async fn hand_over(
    product: &Product,
    request: &BuildRequest,
    push: Option<publish::Push<'_>>,
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
    results: Option<&Results>,
) -> Result<(), Error> {
    let web = Web { settings: &request.push.http, retry: &request.push.retry };
    let publish = || publish::publish(product, &request.outputs, push, blobs, observer, web);
    let published = publish().await;
    let taken = results.map(Results::taken).unwrap_or_default();
    match &published {
        Err(Error::Push { source, .. }) if !source.is_denied() && !taken.is_empty() => {
            blobs.bring_all(&taken).await;
            publish().await
        }
        Ok(()) | Err(_) => published,
    }
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
