//! Base images: their documents before the plan stands, their files when a step needs them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cache::{BaseImageCache, BaseImages, CachedImage};
use oci::{BaseImage, LayerRef, Platform, Reference};
use plan::{BaseImageId, BaseImageRequest};
use registry::Client;
use rootfs::{Protected, RootDir};

use crate::blobs::Blobs;
use crate::error::{BaseError, Error};
use crate::event::{Event, Observer};
use crate::request::BuildRequest;
use crate::results::Hit;

/// An image whose documents are known.
#[derive(Debug, Clone)]
pub(crate) struct PulledBase {
    /// As the Dockerfile names it.
    pub name: String,
    /// The repository to pull its blobs from.
    pub repository: Reference,
    /// Its documents.
    pub image: BaseImage,
    /// The same in the cache of base images, if it is there.
    pub cached: Option<CachedImage>,
    /// Whether a registry said that the repository has it.
    pub confirmed: bool,
}

/// All images of a build.
pub(crate) type Bases = BTreeMap<BaseImageId, PulledBase>;

/// Who gives images: a registry, and the cache of base images before it.
pub(crate) struct Source {
    client: Client,
    cached: Option<BaseImages>,
}

impl Source {
    pub(crate) fn new(request: &BuildRequest, client: &Client) -> Source {
        let cached = request.base_cache.as_ref().map(|options| {
            let since = Duration::from_secs(u64::try_from(request.now.seconds()).unwrap_or(0));
            let cache = BaseImageCache::new(&options.directory);
            BaseImages::new(cache, SystemTime::UNIX_EPOCH + since, options.lifetime)
        });
        if let Some(text) = cached.as_ref().and_then(|cached| cached.cache().suspicion()) {
            tracing::warn!("{text}");
        }
        Source { client: client.clone(), cached }
    }

    async fn one(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<PulledBase, BaseError> {
        let name = String::new();
        let mut cached = None;
        if let Some(images) = &self.cached {
            let found = images.find(&self.client, reference, platform).await;
            if let Some(found) = found.map_err(from_cache)? {
                tracing::info!("Found {} in local cache", found.image.digest());
                let image = found.image.base_image()?;
                let (repository, confirmed) = (found.repository, found.confirmed);
                let cached = Some(found.image);
                return Ok(PulledBase { name, repository, image, cached, confirmed });
            }
        }
        let resolved = self.client.resolve(reference, platform).await?;
        if let Some(images) = &self.cached {
            // The registry tells the digest of an index only with the index, or none at all.
            let found = images.image(&resolved.reference).await;
            cached = found.map_err(from_cache)?;
        }
        if let Some(cached) = &cached {
            tracing::info!("Found {} in local cache", cached.digest());
        }
        let image = resolved.base_image()?;
        let repository = resolved.reference;
        Ok(PulledBase { name, repository, image, cached, confirmed: true })
    }
}

fn from_cache(error: cache::Error) -> BaseError {
    match error {
        cache::Error::Registry(error) => BaseError::Registry(error),
        other => BaseError::Fetch(Box::new(other)),
    }
}

/// Asks for the documents of several images at once; those known already are left out.
pub(crate) async fn resolve(
    requests: &[BaseImageRequest],
    source: &Source,
    observer: &Arc<dyn Observer>,
    bases: &mut Bases,
) -> Result<(), Error> {
    let wanted = requests.iter().filter(|request| !bases.contains_key(&request.id));
    let found = wanted.map(|request| async move {
        let resolved = source.one(&request.reference, &request.platform).await;
        (request, resolved)
    });
    for (request, resolved) in futures_util::future::join_all(found).await {
        let base = resolved.map_err(|source| Error::Base {
            name: request.written.clone(),
            span: request.span,
            source: Box::new(source),
        })?;
        observer.observe(&Event::BaseResolved {
            name: request.written.clone(),
            digest: base.image.manifest_descriptor().digest.to_string(),
        });
        bases.insert(request.id.clone(), PulledBase { name: request.written.clone(), ..base });
    }
    Ok(())
}

/// What came of putting layers into a root.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// What could not be carried over, for people.
    pub warnings: Vec<String>,
    /// How many bytes the layers have.
    pub bytes: u64,
}

impl Unpacked {
    fn add(&mut self, applied: layer::Applied) {
        self.warnings.extend(applied.warnings);
        self.bytes = self.bytes.saturating_add(applied.uncompressed_size);
    }
}

/// How layers are put into a root.
pub(crate) struct Unpacking<'a> {
    pub blobs: &'a Blobs,
    pub runtime: &'a tokio::runtime::Handle,
    pub owners: layer::Owners,
    pub stop: &'a sys::StopHandle,
}

impl Unpacking<'_> {
    /// Pulls the layers, all at once, and applies them in order while later ones still come.
    pub(crate) fn image(
        &self,
        base: &PulledBase,
        root: &RootDir,
        protected: &Protected,
    ) -> Result<Unpacked, BaseError> {
        let mut coming = self.coming(base.image.layers().iter().map(|layer| {
            let (blobs, repository) = (self.blobs.clone(), base.repository.clone());
            let descriptor = layer.descriptor.clone();
            async move { blobs.fetch(&repository, &descriptor).await }
        }));
        let mut unpacked = Unpacked::default();
        for (layer, fetched) in base.image.layers().iter().zip(&mut coming.0) {
            self.arrived(fetched)?;
            unpacked.add(self.layer(layer, root, protected)?);
        }
        Ok(unpacked)
    }

    /// The same with layers that the cache had. Those that it cannot give after all, and those that
    /// are not what it said, are not trusted any more: all of them are found in one go.
    pub(crate) fn cached(
        &self,
        hits: &[Hit],
        root: &RootDir,
        protected: &Protected,
    ) -> Result<Unpacked, BaseError> {
        let mut coming = self.coming(hits.iter().map(|hit| {
            let (blobs, descriptor) = (self.blobs.clone(), hit.cached.layer.descriptor.clone());
            async move { blobs.bring(&descriptor).await }
        }));
        let mut unpacked = Ok(Unpacked::default());
        for (hit, fetched) in hits.iter().zip(&mut coming.0) {
            let arrived = self.arrived(fetched);
            let Ok(so_far) = &mut unpacked else { continue };
            let layer = &hit.cached.layer;
            match arrived.and_then(|()| self.layer(layer, root, protected)) {
                Ok(applied) => so_far.add(applied),
                Err(error) => {
                    if matches!(error, BaseError::Unpack { .. }) && !self.stop.is_stopped() {
                        self.blobs.distrust(&layer.descriptor.digest);
                    }
                    unpacked = Err(error);
                }
            }
        }
        unpacked
    }

    /// Starts downloads, as many at a time as there may be.
    fn coming<F>(&self, fetches: impl Iterator<Item = F>) -> Coming
    where
        F: Future<Output = Result<(), BaseError>> + Send + 'static,
    {
        let gate = Arc::new(tokio::sync::Semaphore::new(self.blobs.parallel()));
        let in_turn = fetches.map(|fetch| {
            let gate = Arc::clone(&gate);
            self.runtime.spawn(async move {
                let _turn = gate.acquire_owned().await;
                fetch.await
            })
        });
        Coming(in_turn.collect())
    }

    fn arrived(
        &self,
        fetched: &mut tokio::task::JoinHandle<Result<(), BaseError>>,
    ) -> Result<(), BaseError> {
        self.runtime.block_on(async {
            let lost = |error| BaseError::Workspace(Box::new(error));
            tokio::select! {
                biased;
                () = crate::build::stopped(self.stop) => Err(lost(Error::Stopped)),
                done = fetched => done.map_err(|_| lost(Error::Worker))?,
            }
        })
    }

    /// Applies one layer that is in the store.
    fn layer(
        &self,
        layer: &LayerRef,
        root: &RootDir,
        protected: &Protected,
    ) -> Result<layer::Applied, BaseError> {
        let blob = self.blobs.store().open_blob(&layer.descriptor.digest)?;
        let options = layer::ApplyOptions {
            owners: self.owners,
            protected: protected.clone(),
            expected: Some(layer.diff_id.clone()),
            ..layer::ApplyOptions::default()
        };
        let stop = || self.stop.is_stopped();
        layer::apply(root, blob, &options, &stop).map_err(|source| BaseError::Unpack {
            digest: layer.descriptor.digest.to_string(),
            source,
        })
    }
}

/// Downloads that end when nobody waits for them any more.
struct Coming(Vec<tokio::task::JoinHandle<Result<(), BaseError>>>);

impl Drop for Coming {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
