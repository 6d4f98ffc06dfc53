//! Fetching the images, one after the other, and saying what became of each.

use cache::{BaseImageCache, WarmOptions, Warmed, warm};
use cli::report::chain;
use registry::{Client, Silent};
use sys::StopHandle;

use crate::request::Request;

/// How it ended.
pub(crate) enum Outcome {
    /// At least one image is in the cache.
    Warmed,
    /// None is, and some were wanted.
    NothingWarmed,
    /// A signal ended it.
    Stopped(i32),
}

/// Fetches all images. An image that fails is a warning.
pub(crate) fn all(request: &Request) -> Result<Outcome, Box<dyn std::error::Error>> {
    sys::nss::pin();
    sys::signals::block_stopping()?;
    let stop = StopHandle::new()?;
    sys::signals::watch(&stop)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cache = BaseImageCache::new(&request.cache_dir);
    let client = Client::new(request.client.clone())?;
    let mut any = request.images.is_empty();
    for (reference, platform) in &request.images {
        tracing::info!("Warming {reference} ({platform})");
        let options =
            WarmOptions { platform: platform.clone(), refresh: request.refresh, oldest: None };
        let warmed = runtime.block_on(async {
            tokio::select! {
                warmed = warm(&client, &cache, reference, &options, &Silent) => Some(warmed),
                () = until_stopped(&stop) => None,
            }
        });
        match warmed {
            None => return Ok(Outcome::Stopped(stop.signal().unwrap_or(0))),
            Some(Ok(Warmed::Fetched(digest))) => {
                tracing::info!("Cached {reference} as {digest}");
                any = true;
            }
            Some(Ok(Warmed::Present(digest))) => {
                tracing::info!("Image already in cache: {reference} ({digest})");
                any = true;
            }
            Some(Err(error)) => tracing::warn!("Failed to warm {reference}: {}", chain(&error)),
        }
    }
    Ok(if any { Outcome::Warmed } else { Outcome::NothingWarmed })
}

async fn until_stopped(stop: &StopHandle) {
    while !stop.is_stopped() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
