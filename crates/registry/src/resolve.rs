//! Finding an image: in the places that stand in for its registry, then in the registry itself.
//!
//! An image that is asked for by digest is the same wherever it comes from. What a tag leads to is
//! the place's to say.

use oci::{Descriptor, ImageConfig, ImageIndex, ImageManifest, Platform, Raw, Reference};
use tokio::sync::OwnedSemaphorePermit;

use crate::client::{Client, Patience, Resolved};
use crate::endpoint::SharedEndpoint;
use crate::error::Cause;
use crate::manifest::fetch;
use crate::pull::{BlobStream, Suspects};
use crate::routes::Candidate;
use crate::{Error, Result};

const CONFIG_LIMIT: u64 = 8 << 20;

impl Client {
    /// Finds an image: its manifest, or the one of its index that fits the platform, and its
    /// config. No layer is fetched. All of it is one snapshot: a tag that moves meanwhile does not
    /// matter.
    ///
    /// What may be pulled at all is decided here, by the name that is asked for; and so is the
    /// place that the image comes from. Whatever is pulled later is pulled by the name of the
    /// answer.
    pub async fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Resolved> {
        if let Some(reason) = self.options().policy.refusal(reference) {
            return Err(Error::Refused { image: reference.to_string(), reason });
        }
        let candidates = self.options().routes.candidates(reference);
        let mut failed = None;
        for (index, candidate) in candidates.iter().enumerate() {
            match self.resolve_there(candidate, platform).await {
                Ok(found) => {
                    self.remember_elsewhere(&candidates[index..]);
                    return Ok(found);
                }
                Err(error) if candidate.stands_in => {
                    tracing::warn!(
                        "Failed to retrieve image {} from remapped registry {}: {}. Will try with \
                         the next registry, or fallback to the original registry.",
                        candidate.reference,
                        candidate.reference.registry(),
                        error.told()
                    );
                    failed = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(match failed {
            Some(error) => {
                Error::NoStandIn { image: reference.to_string(), source: Box::new(error) }
            }
            // Its name is too long for all that stands in for its registry.
            None => Error::Refused {
                image: reference.to_string(),
                reason: "it has no name in what stands in for its registry".to_owned(),
            },
        })
    }

    /// Looks in one place, as often as the options say.
    async fn resolve_there(&self, candidate: &Candidate, platform: &Platform) -> Result<Resolved> {
        let reference = &candidate.reference;
        let mapped = if candidate.stands_in { "mapped " } else { "" };
        let registry = reference.registry();
        tracing::info!("Retrieving image {reference} from {mapped}registry {registry}");
        let patience = Patience::with(candidate);
        // Where there is another place, one that does not have it is not asked again.
        let worth = |error: &Error| !error.is_ours() && (candidate.last || !error.is_not_found());
        let again = self.options().pull_again;
        again.run(worth, || self.resolve_once(reference, platform, patience)).await
    }

    async fn resolve_once(
        &self,
        reference: &Reference,
        platform: &Platform,
        patience: Patience,
    ) -> Result<Resolved> {
        let found = match self.endpoint_with(reference.registry(), patience) {
            Ok(endpoint) => resolve_manifest(&endpoint, reference, platform).await,
            Err(cause) => Err(cause),
        };
        let (descriptor, manifest) =
            found.map_err(|cause| cause.while_trying("resolve image", reference))?;
        let reference = reference.with_digest(descriptor.digest.clone());
        let permit = self.permit().await;
        let config = self.config_of(&reference, &manifest, patience, permit).await?;
        Ok(Resolved { reference, descriptor, manifest, config })
    }

    /// The config that a manifest names.
    pub(crate) async fn config_of(
        &self,
        reference: &Reference,
        manifest: &ImageManifest,
        patience: Patience,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Raw<ImageConfig>> {
        if manifest.config.size > CONFIG_LIMIT {
            let cause = Cause::Size { expected: CONFIG_LIMIT, found: manifest.config.size };
            return Err(cause.while_trying("read the config of", reference));
        }
        let place = self.place_with(reference, &manifest.config.digest, patience)?;
        let nobody = Suspects::default();
        let stream = BlobStream::open([place].into(), &manifest.config, permit, nobody).await?;
        let bytes = stream.into_bytes(CONFIG_LIMIT).await?;
        Raw::parse_expecting(bytes, &manifest.config.digest)
            .map_err(|error| Cause::from(error).while_trying("read the config of", reference))
    }
}

async fn resolve_manifest(
    endpoint: &SharedEndpoint,
    reference: &Reference,
    platform: &Platform,
) -> std::result::Result<(Descriptor, Raw<ImageManifest>), Cause> {
    let top = fetch(endpoint, reference).await?;
    let (fetched, descriptor) = if top.media_type.is_index() {
        let index: Raw<ImageIndex> = Raw::parse(top.bytes.to_vec())?;
        let child = oci::select(&index, platform)?.clone();
        let fetched = fetch(endpoint, &reference.with_digest(child.digest.clone())).await?;
        if fetched.bytes.len() as u64 != child.size {
            let found = fetched.bytes.len() as u64;
            return Err(Cause::Size { expected: child.size, found });
        }
        if !fetched.media_type.is_manifest() {
            let problem = "the index names another index, not an image".to_owned();
            return Err(Cause::Protocol(problem));
        }
        (fetched, child)
    } else {
        let descriptor = top.descriptor();
        (top, descriptor)
    };
    let manifest: Raw<ImageManifest> =
        Raw::parse_expecting(fetched.bytes.to_vec(), &fetched.digest)?;
    let mut own = Descriptor::new(fetched.media_type, fetched.digest, manifest.size());
    own.platform = descriptor.platform;
    Ok((own, manifest))
}
