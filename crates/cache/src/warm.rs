//! Filling the base-image cache: what is fetched, and when nothing is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use oci::{Descriptor, Digest, Platform, Reference};
use registry::{Client, Progress, Resolved, Transfer};
use store::StoreLock;
use tokio::time::Instant;

use crate::Result;
use crate::base_image::{BaseImageCache, CachedImage, Freshness};
use crate::directory::blocking;
use crate::error::Error;
use crate::fetch::Fetcher;
use crate::fill::{self, Pool};

/// How often a lock is tried, and how often who has one shows that it is alive.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
const LOCK_BEAT: Duration = Duration::from_secs(5);

/// How images are warmed.
#[derive(Clone, Copy, Debug)]
pub struct WarmOptions {
    /// What need not be fetched again.
    pub freshness: Freshness,
    /// Whether the rest is.
    pub refresh: Refresh,
    /// How long another warmer's lock is respected while it shows no sign of life: it may have been
    /// stopped.
    pub patience: Duration,
}

/// What is fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// What is not fresh. Layers that are what their digests say stay.
    Expired,
    /// Everything.
    Everything,
}

/// What became of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warmed {
    /// It is in the cache now.
    Fetched {
        /// The digest of its manifest.
        digest: Digest,
        /// How many layers it has.
        layers: usize,
        /// How large they are together.
        bytes: u64,
    },
    /// It was there, and fresh.
    Present(Digest),
}

/// One run over any number of images, which may be warmed at the same time: a blob that several
/// have comes once. Warmers on one volume take turns per image and per blob.
#[derive(Debug)]
pub struct Warmer {
    client: Client,
    cache: BaseImageCache,
    options: WarmOptions,
    shared: tokio::sync::OnceCell<Shared>,
    /// Blobs that this run fetched, or compared with their digests.
    trusted: Mutex<BTreeSet<Digest>>,
}

/// What is opened when the first image is not there.
#[derive(Debug)]
struct Shared {
    pool: Arc<Pool>,
    fetcher: Fetcher,
}

impl Warmer {
    /// Into this cache, from what this client reaches. Nothing is touched yet.
    pub fn new(client: Client, cache: BaseImageCache, options: WarmOptions) -> Self {
        let (shared, trusted) = (tokio::sync::OnceCell::new(), Mutex::default());
        Self { client, cache, options, shared, trusted }
    }

    /// Brings one image into the cache. A fresh one costs one question: which digest its name has.
    pub async fn warm(
        &self,
        reference: &Reference,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Warmed> {
        let may_be_there = self.options.refresh != Refresh::Everything;
        if may_be_there && let Some(image) = self.known(reference, platform).await? {
            return Ok(self.present(image, reference).await);
        }
        let resolved = self.client.resolve(reference, platform).await?;
        let digest = resolved.descriptor.digest.clone();
        let name = || reference.to_string();
        let unusable = |source| Error::Image { name: name(), source: Box::new(source) };
        resolved.base_image().map_err(unusable)?;
        if may_be_there && let Some(image) = self.fresh(&digest).await? {
            self.remember(&resolved).await;
            return Ok(self.present(image, reference).await);
        }
        let _turn = self.turn(fill::entry_lock(&self.cache, &digest)).await?;
        // Whoever had the turn before may have done it.
        if may_be_there && let Some(image) = self.fresh(&digest).await? {
            return Ok(self.present(image, reference).await);
        }
        self.fetch(&resolved, progress).await?;
        let shared = self.shared().await?;
        let (pool, name) = (Arc::clone(&shared.pool), reference.clone());
        let resolved = blocking(move || {
            pool.publish(&resolved, &name)?;
            Ok(resolved)
        })
        .await?;
        self.remember(&resolved).await;
        let layers = &resolved.manifest.layers;
        let bytes = layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
        Ok(Warmed::Fetched { digest, layers: layers.len(), bytes })
    }

    /// Removes what nobody needs any more. To be called when no image is on its way.
    pub async fn finish(self) -> Result<()> {
        let now = self.options.freshness.now;
        let Some(Shared { pool, fetcher }) = self.shared.into_inner() else { return Ok(()) };
        drop(fetcher);
        // Somebody who was stopped in between may still hold it.
        let Ok(pool) = Arc::try_unwrap(pool) else { return Ok(()) };
        blocking(move || pool.close(now)).await
    }

    /// The fresh image that a name leads to, if no more than a digest is needed to know it.
    async fn known(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<CachedImage>> {
        self.client.assume(reference)?;
        let digest = match reference.digest() {
            Some(digest) => digest.clone(),
            None => match self.client.locate(reference).await {
                Ok(located) => match located.as_ref().and_then(Reference::digest) {
                    Some(digest) => digest.clone(),
                    None => return Ok(None),
                },
                // Some registries answer no HEAD; if that is not it, the failure comes again.
                Err(error) => {
                    tracing::debug!("cannot learn the digest of {reference}: {error}");
                    return Ok(None);
                }
            },
        };
        let (cache, freshness, platform) =
            (self.cache.clone(), self.options.freshness, platform.clone());
        blocking(move || Ok(cache.find(&digest, &platform, &freshness))).await
    }

    async fn fresh(&self, digest: &Digest) -> Result<Option<CachedImage>> {
        let (cache, digest, freshness) =
            (self.cache.clone(), digest.clone(), self.options.freshness);
        let fresh = move |image: &CachedImage| freshness.holds(image.fetched());
        blocking(move || Ok(cache.stale(&digest).filter(fresh))).await
    }

    /// An image that is there is there by this name too, from now on.
    async fn present(&self, image: CachedImage, reference: &Reference) -> Warmed {
        let digest = image.digest().clone();
        if reference.digest().is_none() && !image.is_named(reference) {
            let (cache, name) = (self.cache.clone(), reference.clone());
            let added = blocking(move || fill::add_name(&cache, &image, &name)).await;
            if let Err(error) = added {
                tracing::debug!(%digest, %error, "the name {reference} is not noted");
            }
        }
        Warmed::Present(digest)
    }

    /// Remembers what an index led to. Without that, it is only asked for again.
    async fn remember(&self, resolved: &Resolved) {
        let Some(index) = resolved.index.clone() else { return };
        let cache = self.cache.clone();
        let kept = blocking(move || fill::remember_index(&cache, &index)).await;
        if let Err(error) = kept {
            tracing::debug!(%error, "the index is not kept");
        }
    }

    async fn shared(&self) -> Result<&Shared> {
        let open = || async {
            let run = self.take(fill::run_lock(&self.cache), StoreLock::try_shared).await?;
            let cache = self.cache.clone();
            let pool = blocking(move || Pool::open(&cache, run)).await?;
            let fetcher = Fetcher::new(self.client.clone(), pool.blobs().clone());
            Ok(Shared { pool: Arc::new(pool), fetcher })
        };
        self.shared.get_or_try_init(open).await
    }

    /// All layers of an image into the pool.
    async fn fetch(&self, resolved: &Resolved, progress: &dyn Progress) -> Result<()> {
        let shared = self.shared().await?;
        let older = {
            let (cache, digest) = (self.cache.clone(), resolved.descriptor.digest.clone());
            blocking(move || Ok(cache.stale(&digest))).await?
        };
        let (reference, older) = (&resolved.reference, older.as_ref());
        let mut fetches = Vec::new();
        for layer in resolved.manifest.layers.iter().filter(|layer| !layer.media_type.is_foreign())
        {
            fetches.push(async move {
                let _turn = self.turn(fill::blob_lock(&self.cache, &layer.digest)).await?;
                self.bring(shared, reference, layer, older, progress).await
            });
        }
        futures_util::stream::iter(fetches)
            .buffer_unordered(self.client.options().parallel.max(1))
            .try_collect::<()>()
            .await
    }

    /// One layer, unless it is there and good.
    async fn bring(
        &self,
        shared: &Shared,
        reference: &Reference,
        layer: &Descriptor,
        older: Option<&CachedImage>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let digest = &layer.digest;
        let blobs = shared.pool.blobs();
        if self.trusts(digest) && blobs.contains(digest) {
            progress.transfer(Transfer::Existed { digest: digest.clone() });
            return Ok(());
        }
        match self.options.refresh {
            Refresh::Everything => shared.fetcher.fetch_anew(reference, layer, progress).await?,
            Refresh::Expired => {
                if blobs.contains(digest) {
                    let (blobs, digest) = (blobs.clone(), digest.clone());
                    // A damaged copy is removed by this, and fetched.
                    let checked = blocking(move || Ok(blobs.verify(&digest))).await?;
                    if let Err(error) = checked {
                        tracing::warn!(%error, "damaged blob of the base image cache dropped");
                    }
                }
                shared.fetcher.fetch(reference, layer, older, progress).await?;
            }
        }
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone());
        Ok(())
    }

    async fn turn(&self, path: PathBuf) -> Result<Option<Turn>> {
        Ok(self.take(path, StoreLock::exclusive).await?.map(Turn::new))
    }

    /// Takes a lock. It ends with its owner, so a dead one holds nobody up. One that was stopped does
    /// for a while; then the work is done without the lock, which at worst does it twice.
    async fn take(
        &self,
        path: PathBuf,
        how: fn(&Path) -> store::Result<StoreLock>,
    ) -> Result<Option<StoreLock>> {
        let (mut beat, mut since) = (None, Instant::now());
        loop {
            let tried = {
                let path = path.clone();
                blocking(move || fill::try_lock(&path, how)).await
            };
            let Err(Error::Store(store::Error::Locked(_))) = tried else { return tried.map(Some) };
            let last = std::fs::symlink_metadata(&path).and_then(|found| found.modified()).ok();
            if last != beat {
                (beat, since) = (last, Instant::now());
            } else if since.elapsed() >= self.options.patience {
                let path = path.display();
                tracing::warn!(
                    "who holds the lock `{path}` seems to be stopped; not waiting for it"
                );
                return Ok(None);
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }

    fn trusts(&self, digest: &Digest) -> bool {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }
}

/// A lock that is held, and the sign of life of who holds it.
struct Turn(tokio::task::JoinHandle<()>);

impl Turn {
    fn new(lock: StoreLock) -> Turn {
        Turn(tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOCK_BEAT).await;
                lock.touch();
            }
        }))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.abort();
    }
}
#[cfg(test)]
mod tests;
