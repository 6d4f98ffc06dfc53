//! Fetching the images, a few at a time, and saying what became of each.

use std::sync::Arc;
use std::time::Duration;

use cache::{BaseImageCache, Warmed, Warmer};
use cli::report::chain;
use registry::Client;
use sys::StopHandle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::meter::{Meter, shown};
use crate::request::{Request, Result, Wanted};
use crate::text;

/// How many images are on their way at a time.
const AT_ONCE: usize = 4;
/// How often an image on its way says how far it is.
const TELL: Duration = Duration::from_secs(10);

/// How it ended.
pub(crate) enum Outcome {
    /// At least one image is in the cache.
    Warmed,
    /// None is, and some were wanted.
    NothingWarmed,
    /// Some are not, and `--strict` was given.
    NotAll {
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
    },
    /// A signal ended it.
    Stopped(i32),
}

/// Fetches all images. An image that fails is a warning.
pub(crate) fn all(request: &Request) -> Result<Outcome> {
    sys::nss::pin();
    sys::signals::block_stopping()?;
    let stop = StopHandle::new()?;
    sys::signals::watch(&stop)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = warm(request) => done,
            () = until_stopped(&stop) => Ok(Outcome::Stopped(stop.signal().unwrap_or(0))),
        }
    })
}

async fn warm(request: &Request) -> Result<Outcome> {
    let text = match &request.dockerfile {
        Some(place) => Some(text::read(place, &request.client).await?),
        None => None,
    };
    let images = request.images(text.as_deref())?;
    let cache = BaseImageCache::new(&request.cache_dir);
    if let Some(text) = cache.suspicion() {
        tracing::warn!("{text}");
    }
    let client = Client::new(request.client.clone())?;
    let warmer = Arc::new(Warmer::new(client, cache, request.warm));
    let (gate, of) = (Arc::new(Semaphore::new(AT_ONCE)), images.len());
    let mut tasks = JoinSet::new();
    for image in images {
        let (warmer, gate) = (Arc::clone(&warmer), Arc::clone(&gate));
        tasks.spawn(async move {
            let _turn = gate.acquire_owned().await;
            one(&warmer, image).await
        });
    }
    let mut warmed = 0;
    while let Some(done) = tasks.join_next().await {
        warmed += usize::from(done?);
    }
    if let Ok(warmer) = Arc::try_unwrap(warmer)
        && let Err(error) = warmer.finish().await
    {
        tracing::warn!("cannot clean up the cache: {}", chain(&error));
    }
    Ok(match of - warmed {
        0 => Outcome::Warmed,
        failed if request.strict && warmed > 0 => Outcome::NotAll { failed, of },
        _ if warmed > 0 => Outcome::Warmed,
        _ => Outcome::NothingWarmed,
    })
}

/// Whether it is there afterwards.
async fn one(warmer: &Warmer, (reference, platform): Wanted) -> bool {
    tracing::info!("Warming {reference} ({platform})");
    let meter = Meter::default();
    let warming = warmer.warm(&reference, &platform, &meter);
    let telling = async {
        loop {
            tokio::time::sleep(TELL).await;
            if let Some(text) = meter.so_far() {
                tracing::info!("Fetching {reference}: {text}");
            }
        }
    };
    let warmed = tokio::select! {
        warmed = warming => warmed,
        () = telling => return false,
    };
    match warmed {
        Ok(Warmed::Fetched { digest, layers, bytes }) => {
            let (size, how) = (shown(bytes), meter.in_all());
            tracing::info!("Cached {reference} as {digest}: {layers} layers, {size}, {how}");
            true
        }
        Ok(Warmed::Present(digest)) => {
            tracing::info!("Image already in cache: {reference} ({digest})");
            true
        }
        Err(error) => {
            tracing::warn!("Failed to warm {reference}: {}", chain(&error));
            false
        }
    }
}

async fn until_stopped(stop: &StopHandle) {
    while !stop.is_stopped() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
