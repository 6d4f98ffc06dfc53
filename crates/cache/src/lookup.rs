//! Finding an image in the base-image cache, with as little of the network as may be.
//!
//! Asks which digest a tag leads to, and nothing else; by digest, nobody is asked.

use std::time::{Duration, SystemTime};

use oci::{Platform, Reference};
use registry::Client;

use crate::Result;
use crate::base_image::{BaseImageCache, CachedImage, Freshness};
use crate::directory::blocking;

/// What a build knows of the cache of base images.
#[derive(Clone, Debug)]
pub struct BaseImages {
    cache: BaseImageCache,
    freshness: Freshness,
}

/// An image that was found, and who would have the rest of it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The image.
    pub image: CachedImage,
    /// The name to pull by what turns out to be damaged.
    pub repository: Reference,
    /// Whether a registry said that it has the image there.
    pub confirmed: bool,
}

impl BaseImages {
    /// The images in this cache that are not older than `lifetime`.
    pub fn new(cache: BaseImageCache, now: SystemTime, lifetime: Duration) -> Self {
        Self { cache, freshness: Freshness { now, lifetime } }
    }

    /// The cache.
    pub fn cache(&self) -> &BaseImageCache {
        &self.cache
    }

    /// Looks for an image. A tag is what its registry says; where that cannot be reached, it is what it
    /// was when a warmer asked, and a warning. An error means that the image may not be used.
    pub async fn find(
        &self,
        client: &Client,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Found>> {
        let assumed = client.assume(reference)?;
        if !self.cache.exists() {
            return Ok(None);
        }
        if reference.digest().is_some() {
            let image = self.by_digest(reference, platform).await?;
            return Ok(image.map(|image| found(image, &assumed, false)));
        }
        match client.locate(reference).await {
            Ok(Some(located)) => {
                let image = self.by_digest(&located, platform).await?;
                Ok(image.map(|image| found(image, &located, true)))
            }
            Ok(None) => Ok(None),
            Err(error) if error.is_unreachable() => {
                let image = self.by_name(reference, platform).await?;
                if let Some(image) = &image {
                    let digest = image.digest();
                    tracing::warn!(
                        "{reference} is taken from the base image cache as {digest}, without \
                         knowing whether that is still what it leads to: {}",
                        error.told()
                    );
                }
                Ok(image.map(|image| found(image, &assumed, false)))
            }
            // Asked again, and told, by who needs the image.
            Err(error) => {
                tracing::debug!("cannot learn the digest of {reference}: {error}");
                Ok(None)
            }
        }
    }

    /// The image whose platform's manifest has the digest of this name.
    pub async fn image(&self, reference: &Reference) -> Result<Option<CachedImage>> {
        let (this, digest) = (self.clone(), reference.digest().cloned());
        let found = move || digest.and_then(|digest| this.cache.image(&digest, &this.freshness));
        blocking(move || Ok(found())).await
    }

    async fn by_digest(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<CachedImage>> {
        let (this, digest, platform) =
            (self.clone(), reference.digest().cloned(), platform.clone());
        let found =
            move || digest.and_then(|digest| this.cache.find(&digest, &platform, &this.freshness));
        blocking(move || Ok(found())).await
    }

    async fn by_name(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<CachedImage>> {
        let (this, reference, platform) = (self.clone(), reference.clone(), platform.clone());
        blocking(move || Ok(this.cache.named(&reference, &platform, &this.freshness))).await
    }
}

fn found(image: CachedImage, repository: &Reference, confirmed: bool) -> Found {
    let repository = repository.with_digest(image.digest().clone());
    Found { image, repository, confirmed }
}
