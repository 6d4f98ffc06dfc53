//! Blobs of one build: where each can be pulled from, and how it comes into the store.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use cache::{CachedImage, Fetcher, LayerCache};
use oci::{Descriptor, Digest, Reference};
use registry::{BlobOrigin, BlobSource, Client};
use store::BlobStore;
use transport::chain;

use crate::bases::PulledBase;
use crate::error::BaseError;
use crate::results::{Distrusted, Hit};

/// The store, and the repositories that the base images' layers come from.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    fetcher: Fetcher,
    known: Arc<Mutex<BTreeMap<Digest, BTreeSet<Reference>>>>,
    /// Layers that a cache had.
    cached: Arc<Mutex<BTreeMap<Digest, Cached>>>,
    /// Layers of base images that a warmer fetched.
    warmed: Arc<Mutex<BTreeMap<Digest, Warmed>>>,
    distrusted: Distrusted,
}

#[derive(Debug, Clone)]
struct Cached {
    cache: Arc<dyn LayerCache>,
    hit: Hit,
}

/// Where a layer of a base image is, and whether its registry said that it has it.
#[derive(Debug, Clone)]
struct Warmed {
    image: CachedImage,
    confirmed: bool,
}

impl Blobs {
    /// Blobs of this store; what is not there comes through this client.
    pub(crate) fn new(client: Client, store: BlobStore, distrusted: Distrusted) -> Blobs {
        Blobs {
            fetcher: Fetcher::new(client, store),
            known: Arc::default(),
            cached: Arc::default(),
            warmed: Arc::default(),
            distrusted,
        }
    }

    pub(crate) fn store(&self) -> &BlobStore {
        self.fetcher.blobs()
    }

    /// How many of them are on their way at a time.
    pub(crate) fn parallel(&self) -> usize {
        self.fetcher.parallel()
    }

    /// Notes that a blob can be pulled from a repository.
    pub(crate) fn note(&self, digest: &Digest, repository: &Reference) {
        lock(&self.known).entry(digest.clone()).or_default().insert(repository.clone());
    }

    /// Notes where the layers of a base image are.
    pub(crate) fn note_base(&self, base: &PulledBase) {
        for layer in base.image.layers() {
            let digest = &layer.descriptor.digest;
            self.note(digest, &base.repository);
            if let Some(image) = &base.cached {
                let warmed = Warmed { image: image.clone(), confirmed: base.confirmed };
                lock(&self.warmed).insert(digest.clone(), warmed);
            }
        }
    }

    /// Whether the cache of base images has a blob, and no registry was asked whether it has it too.
    pub(crate) fn only_warmed(&self, digest: &Digest) -> bool {
        lock(&self.warmed).get(digest).is_some_and(|warmed| !warmed.confirmed)
    }

    /// Notes that a cache has a layer.
    pub(crate) fn note_cached(&self, cache: &Arc<dyn LayerCache>, hit: &Hit) {
        let digest = &hit.cached.layer.descriptor.digest;
        if let Some(repository) = cache.repository() {
            self.note(digest, repository);
        }
        let cached = Cached { cache: Arc::clone(cache), hit: hit.clone() };
        lock(&self.cached).insert(digest.clone(), cached);
    }

    /// Notes that a layer is not what a cache said it is.
    pub(crate) fn distrust(&self, digest: &Digest) {
        let Some(Cached { hit, .. }) = lock(&self.cached).get(digest).cloned() else { return };
        self.distrusted.add(hit.key);
        self.distrusted.add(hit.cached.content);
        // It would be taken for good by whoever finds it here.
        let _ = self.store().remove(digest);
    }

    /// Whether a blob that is not here can be brought here.
    pub(crate) fn has_origin(&self, digest: &Digest) -> bool {
        lock(&self.cached).contains_key(digest) || !self.repositories(digest).is_empty()
    }

    /// Brings a blob into the store from wherever it is. A cache that cannot give what it said it
    /// has is not trusted in that any more.
    pub(crate) async fn bring(&self, descriptor: &Descriptor) -> Result<(), BaseError> {
        let digest = &descriptor.digest;
        if self.store().contains(digest) {
            return Ok(());
        }
        let cached = lock(&self.cached).get(digest).cloned();
        if let Some(Cached { cache, hit }) = cached {
            let fetched = cache.fetch(&hit.key, &hit.cached, self.store()).await;
            return fetched.map_err(|error| {
                tracing::warn!("Error while retrieving image from cache: {}", chain(&error));
                self.distrust(digest);
                BaseError::Fetch(Box::new(error))
            });
        }
        match self.repositories(digest).into_iter().next() {
            Some(repository) => self.fetch(&repository, descriptor).await,
            None => Err(BaseError::Store(store::Error::Missing(digest.clone()))),
        }
    }

    /// Whether a push finds a blob: here, or in a registry.
    pub(crate) fn can_be_located(&self, digest: &Digest) -> bool {
        self.store().contains(digest) || !self.repositories(digest).is_empty()
    }

    /// Brings the layers of all these here. Those that do not come are not trusted any more.
    pub(crate) async fn bring_all(&self, hits: &[Hit]) {
        let coming = hits.iter().map(|hit| self.bring(&hit.cached.layer.descriptor));
        futures_util::future::join_all(coming).await;
    }

    /// Where a blob can be pulled from.
    pub(crate) fn repositories(&self, digest: &Digest) -> Vec<Reference> {
        lock(&self.known).get(digest).into_iter().flatten().cloned().collect()
    }

    /// Brings a blob into the store, unless it is there. It is visible there only once its digest
    /// and size are verified.
    pub(crate) async fn fetch(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
    ) -> Result<(), BaseError> {
        let warmed = lock(&self.warmed).get(&descriptor.digest).map(|warmed| warmed.image.clone());
        let (from, progress) = (warmed.as_ref(), &registry::Silent);
        let fetched = self.fetcher.fetch(repository, descriptor, from, progress).await;
        fetched.map_err(|error| BaseError::Fetch(Box::new(error)))
    }
}

impl BlobSource for Blobs {
    fn locate(&self, descriptor: &Descriptor) -> io::Result<BlobOrigin> {
        if self.store().contains(&descriptor.digest) {
            let file = self.store().open_blob(&descriptor.digest).map_err(io::Error::other)?;
            return Ok(BlobOrigin::File(Arc::new(file)));
        }
        match self.repositories(&descriptor.digest).into_iter().next() {
            Some(repository) => Ok(BlobOrigin::Registry(repository)),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("nobody holds the blob `{}`", descriptor.digest),
            )),
        }
    }

    fn known_in(&self, descriptor: &Descriptor) -> Vec<Reference> {
        self.repositories(&descriptor.digest)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
