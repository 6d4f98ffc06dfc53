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
        let candidates = self.candidates(reference)?;
        let mut failed = None;
        for (index, candidate) in candidates.iter().enumerate() {
            match self.resolve_there(candidate, platform).await {
                Ok(found) => {
                    self.remember_elsewhere(&candidates[index..]);
                    return Ok(found);
                }
                Err(error) if candidate.stands_in => {
                    warn_of(candidate, &error);
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
            None => nameless(reference),
        })
    }

    /// Which manifest a name leads to, by asking for its head and nothing more; `None` where the place
    /// that has it does not tell. As with [`Client::resolve`], the answer is the name to pull by.
    ///
    /// Failures are borne for a short while only: whoever asks this has another way.
    pub async fn locate(&self, reference: &Reference) -> Result<Option<Reference>> {
        let candidates = self.candidates(reference)?;
        let mut failed: Vec<(&Candidate, Error)> = Vec::new();
        for (index, candidate) in candidates.iter().enumerate() {
            let reference = &candidate.reference;
            match self.manifest_head(reference, Patience::Short).await {
                Ok(digest) => {
                    failed.iter().for_each(|(candidate, error)| warn_of(candidate, error));
                    self.remember_elsewhere(&candidates[index..]);
                    return Ok(digest.map(|digest| reference.with_digest(digest)));
                }
                Err(cause) => failed.push((candidate, cause.while_trying("find image", reference))),
            }
        }
        Err(failed.pop().map_or_else(|| nameless(reference), |(_, error)| error))
    }

    /// The name that an image would be pulled by about which nobody needs to be asked, because it is
    /// known by its digest; refused where it may not be pulled.
    pub fn assume(&self, reference: &Reference) -> Result<Reference> {
        let candidates = self.candidates(reference)?;
        self.remember_elsewhere(&candidates);
        let first = candidates.into_iter().next();
        first.map(|candidate| candidate.reference).ok_or_else(|| nameless(reference))
    }

    /// The places of an image that may be pulled, in order.
    fn candidates(&self, reference: &Reference) -> Result<Vec<Candidate>> {
        match self.options().policy.refusal(reference) {
            Some(reason) => Err(Error::Refused { image: reference.to_string(), reason }),
            None => Ok(self.options().routes.candidates(reference)),
        }
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
        let (descriptor, manifest, index) =
            found.map_err(|cause| cause.while_trying("resolve image", reference))?;
        let reference = reference.with_digest(descriptor.digest.clone());
        let permit = self.permit().await;
        let config = self.config_of(&reference, &manifest, patience, permit).await?;
        Ok(Resolved { reference, descriptor, manifest, config, index })
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
) -> std::result::Result<(Descriptor, Raw<ImageManifest>, Option<Raw<ImageIndex>>), Cause> {
    let top = fetch(endpoint, reference).await?;
    let (fetched, descriptor, index) = if top.media_type.is_index() {
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
        (fetched, child, Some(index))
    } else {
        let descriptor = top.descriptor();
        (top, descriptor, None)
    };
    let manifest: Raw<ImageManifest> =
        Raw::parse_expecting(fetched.bytes.to_vec(), &fetched.digest)?;
    let mut own = Descriptor::new(fetched.media_type, fetched.digest, manifest.size());
    own.platform = descriptor.platform;
    Ok((own, manifest, index))
}

fn warn_of(candidate: &Candidate, error: &Error) {
    tracing::warn!(
        "Failed to retrieve image {} from remapped registry {}: {}. Will try with the next \
         registry, or fallback to the original registry.",
        candidate.reference,
        candidate.reference.registry(),
        error.told()
    );
}

fn nameless(reference: &Reference) -> Error {
    Error::Refused {
        image: reference.to_string(),
        reason: "it has no name in what stands in for its registry".to_owned(),
    }
}
