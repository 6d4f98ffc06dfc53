//! Filling the base-image cache.

use std::time::{Duration, SystemTime};

use futures_util::{StreamExt as _, TryStreamExt as _};
use oci::{Digest, Platform, Reference};
use registry::{Client, Progress};
use store::StoreLock;

use crate::Result;
use crate::base_image::BaseImageCache;
use crate::directory::blocking;
use crate::error::Error;
use crate::fetch::Fetcher;

/// How long to wait for another warmer, and how often to look.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// How an image is warmed.
#[derive(Clone, Debug)]
pub struct WarmOptions {
    /// Which image of an index.
    pub platform: Platform,
    /// Fetch again, and compare with its digest, what is there.
    pub refresh: bool,
    /// What was fetched before is fetched again.
    pub oldest: Option<SystemTime>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warmed {
    /// It is in the cache now.
    Fetched(Digest),
    /// It was there, and fresh.
    Present(Digest),
}

/// Brings one image into the cache. Warmers on one volume take turns per image; one that dies
/// leaves nothing that reads as an image.
pub async fn warm(
    client: &Client,
    cache: &BaseImageCache,
    reference: &Reference,
    options: &WarmOptions,
    progress: &dyn Progress,
) -> Result<Warmed> {
    let resolved = client.resolve(reference, &options.platform).await?;
    let digest = resolved.descriptor.digest.clone();
    let unusable = |source| Error::Image { name: reference.to_string(), source: Box::new(source) };
    resolved.base_image().map_err(unusable)?;
    if !options.refresh && find(cache, &digest, options.oldest).await {
        return Ok(Warmed::Present(digest));
    }
    let _turn = take_turn(cache, &digest).await?;
    // Whoever had the turn before may have done it.
    if !options.refresh && find(cache, &digest, options.oldest).await {
        return Ok(Warmed::Present(digest));
    }
    let blobs = {
        let (cache, digest) = (cache.clone(), digest.clone());
        blocking(move || cache.fill(&digest)).await?
    };
    let fetcher = Fetcher::new(client.clone(), blobs.clone());
    let layers = resolved.manifest.layers.iter().filter(|layer| !layer.media_type.is_foreign());
    let fetches = layers.map(|layer| {
        let (fetcher, blobs, reference) = (&fetcher, &blobs, &resolved.reference);
        async move {
            if blobs.contains(&layer.digest) {
                // From an earlier warmer: a damaged copy is removed by this, and fetched.
                let (blobs, digest) = (blobs.clone(), layer.digest.clone());
                let checked = blocking(move || Ok(blobs.verify(&digest))).await?;
                if let Err(error) = checked {
                    tracing::warn!(%error, "damaged blob in the base image cache is fetched again");
                }
            }
            fetcher.fetch(reference, layer, None, progress).await
        }
    });
    futures_util::stream::iter(fetches)
        .buffer_unordered(client.options().parallel.max(1))
        .try_collect::<()>()
        .await?;
    let cache = cache.clone();
    let name = reference.to_string();
    blocking(move || {
        for document in [resolved.config.bytes(), resolved.manifest.bytes()] {
            // What is there may be damaged; what is written is not.
            blobs.remove(&Digest::sha256_of(document))?;
            blobs.put(document)?;
        }
        cache.publish(&resolved.descriptor, &name)
    })
    .await?;
    Ok(Warmed::Fetched(digest))
}

async fn find(cache: &BaseImageCache, digest: &Digest, oldest: Option<SystemTime>) -> bool {
    let (cache, digest) = (cache.clone(), digest.clone());
    blocking(move || Ok(cache.find(&digest, oldest).is_some())).await.unwrap_or(false)
}

/// The lock of one entry. It ends with its owner, so a dead warmer holds nobody up; a stopped one
/// does for a while.
async fn take_turn(cache: &BaseImageCache, digest: &Digest) -> Result<StoreLock> {
    let deadline = tokio::time::Instant::now() + LOCK_PATIENCE;
    loop {
        let (cache_, digest_) = (cache.clone(), digest.clone());
        let tried = blocking(move || Ok(StoreLock::exclusive(&cache_.lock_path(&digest_)?)?)).await;
        match tried {
            Err(Error::Store(store::Error::Locked(_)))
                if tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(Error::Store(store::Error::Locked(_))) => {
                return Err(Error::Locked(cache.entry(digest)));
            }
            other => return other,
        }
    }
}
