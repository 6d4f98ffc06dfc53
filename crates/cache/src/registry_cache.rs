//! A cache of layers in a repository: `<repository>:<64 hex>`, each an image of one layer.
//!
//! A look-up reads a manifest and a config, and asks whether the layer is there. Whoever may push to
//! the repository decides what is built from it: a record is bound to its key and its layer, but
//! nobody has signed it.

use std::sync::{Arc, Mutex, PoisonError};

use oci::{Descriptor, Image, Reference};
use registry::{BlobOrigin, BlobSource, Cause, Client, Silent};
use store::BlobStore;

use crate::Result;
use crate::directory::blocking;
use crate::entry;
use crate::error::Error;
use crate::fetch::Fetcher;
use crate::key::CacheKey;
use crate::layer_cache::{BoxFuture, CachedLayer, LayerCache};

/// Layers in a repository of a registry.
#[derive(Clone, Debug)]
pub struct RegistryCache {
    client: Client,
    repository: Reference,
    /// One per store that bytes were asked for, so that those on their way come once.
    fetchers: Arc<Mutex<Vec<Fetcher>>>,
}

impl RegistryCache {
    /// The cache in a repository; a tag or digest in its name does not matter. Does not connect.
    pub fn new(client: Client, repository: Reference) -> Self {
        Self { client, repository, fetchers: Arc::default() }
    }

    fn reference(&self, key: &CacheKey) -> Result<Reference> {
        self.repository.with_tag(&key.to_string()).map_err(|source| Error::Image {
            name: format!("{}:{key}", self.name()),
            source: Box::new(source),
        })
    }

    async fn find(&self, key: &CacheKey, oldest: Option<i64>) -> Result<Option<CachedLayer>> {
        // A step that is not found is built: nothing is worth much waiting.
        let client = self.client.impatient();
        let reference = self.reference(key)?;
        let manifest = match client.find_manifest(&reference).await {
            Err(error) if is_foreign(&error) => return Ok(ignored(key, &error)),
            other => other?,
        };
        let Some(manifest) = manifest else { return Ok(None) };
        let [layer] = manifest.layers.as_slice() else {
            tracing::warn!(%key, "cache entry ignored: it has not one layer");
            return Ok(None);
        };
        let (config, is_there) = tokio::join!(
            client.read_config(&reference, &manifest),
            client.has_blob(&reference, &layer.digest)
        );
        let config = match config {
            Err(error) if is_foreign(&error) || error.is_not_found() => {
                return Ok(ignored(key, &error));
            }
            other => other?,
        };
        let cached = match entry::read(key, &manifest, &config) {
            Ok(cached) => cached,
            Err(reason) => {
                tracing::warn!(%key, "cache entry ignored: {reason}");
                return Ok(None);
            }
        };
        if cached.is_older_than(oldest) {
            return Ok(None);
        }
        if !is_there? {
            tracing::warn!(%key, "cache entry ignored: its layer is gone");
            return Ok(None);
        }
        Ok(Some(cached))
    }

    /// Sends what the registry does not have, then the manifest.
    async fn send(&self, key: &CacheKey, layer: &CachedLayer, blobs: &BlobStore) -> Result<()> {
        let client = self.client.impatient();
        let reference = self.reference(key)?;
        let descriptor = &layer.layer.descriptor;
        let held = {
            let (blobs, digest) = (blobs.clone(), descriptor.digest.clone());
            blocking(move || Ok(blobs.contains(&digest))).await?
        };
        if !held && !client.has_blob(&reference, &descriptor.digest).await? {
            return Err(store::Error::Missing(descriptor.digest.clone()).into());
        }
        let image = entry::image(key, layer);
        let source = Entry { image: &image, blobs: held.then_some(blobs), here: &self.repository };
        for blob in [descriptor, image.config_descriptor()] {
            client.push_blob(&reference, blob, &source, &Silent).await?;
        }
        let manifest = image.manifest();
        let media_type = manifest.media_type();
        match client.push_manifest(&reference, &media_type, manifest.bytes()).await {
            // Somebody put another result there in the meantime; one is as good as the other.
            Err(error) if matches!(error.cause(), Some(Cause::Digest { .. })) => {
                tracing::debug!(%key, error = %error.told(), "replaced at once");
            }
            other => drop(other?),
        }
        Ok(())
    }

    fn fetcher(&self, blobs: &BlobStore) -> Fetcher {
        let mut fetchers = self.fetchers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = fetchers.iter().find(|found| found.blobs().root() == blobs.root()) {
            return found.clone();
        }
        let fetcher = Fetcher::new(self.client.clone(), blobs.clone());
        fetchers.push(fetcher.clone());
        fetcher
    }
}

/// Whether something is under the name that is no entry of ours, rather than that it cannot be had.
fn is_foreign(error: &registry::Error) -> bool {
    matches!(error.cause(), Some(Cause::Document(_) | Cause::Digest { .. } | Cause::Size { .. }))
}

fn ignored(key: &CacheKey, error: &registry::Error) -> Option<CachedLayer> {
    tracing::warn!(%key, error = %error.told(), "cache entry ignored");
    None
}

/// Where the blobs of an entry are.
struct Entry<'a> {
    image: &'a Image,
    /// Where the layer is; else it is in the repository itself.
    blobs: Option<&'a BlobStore>,
    here: &'a Reference,
}

impl BlobSource for Entry<'_> {
    fn locate(&self, descriptor: &Descriptor) -> std::io::Result<BlobOrigin> {
        if &descriptor.digest == self.image.config().digest() {
            return Ok(BlobOrigin::Bytes(self.image.config().bytes().to_vec().into()));
        }
        let Some(blobs) = self.blobs else { return Ok(BlobOrigin::Registry(self.here.clone())) };
        let file = blobs.open_blob(&descriptor.digest).map_err(std::io::Error::other)?;
        Ok(BlobOrigin::File(Arc::new(file)))
    }
}

impl LayerCache for RegistryCache {
    fn name(&self) -> String {
        format!("{}/{}", self.repository.registry(), self.repository.repository())
    }

    fn repository(&self) -> Option<&Reference> {
        Some(&self.repository)
    }

    fn look_up<'a>(
        &'a self,
        key: &'a CacheKey,
        oldest: Option<i64>,
    ) -> BoxFuture<'a, Result<Option<CachedLayer>>> {
        Box::pin(self.find(key, oldest))
    }

    fn fetch<'a>(
        &'a self,
        key: &'a CacheKey,
        layer: &'a CachedLayer,
        blobs: &'a BlobStore,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            // Patient: the step has been counted on by now.
            let reference = self.reference(key)?;
            let fetcher = self.fetcher(blobs);
            fetcher.fetch(&reference, &layer.layer.descriptor, None, &Silent).await
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a CacheKey,
        layer: &'a CachedLayer,
        blobs: &'a BlobStore,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.send(key, layer, blobs))
    }
}
