//! An image into a repository: its blobs, then the manifest by digest, then the tag, so that no tag
//! ever leads to an image that is not whole.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _};
use oci::{Descriptor, Digest, Image, ImageIndex, ImageManifest, Raw, Reference};

use crate::client::Client;
use crate::error::Cause;
use crate::progress::Progress;
use crate::source::{BlobOrigin, BlobSource};
use crate::{Error, Result};

impl Client {
    /// Reads back what a push left: the manifest under its name, and every blob it names by digest
    /// and size. Layers that may not be distributed were not pushed.
    pub async fn verify(&self, reference: &Reference, manifest: &Raw<ImageManifest>) -> Result<()> {
        let fail = |cause: Cause| cause.while_trying("read back", reference);
        let digest = self.manifest_digest(reference).await.map_err(fail)?;
        if &digest != manifest.digest() {
            let expected = manifest.digest().clone();
            return Err(fail(Cause::Digest { expected, found: digest.to_string() }));
        }
        for blob in blobs(manifest) {
            let found = self.blob_size(reference, &blob.digest).await?;
            if found != Some(blob.size) {
                let cause = match found {
                    Some(found) => Cause::Size { expected: blob.size, found },
                    None => Cause::Lost,
                };
                let object = format!("{reference}, blob {}", blob.digest);
                return Err(cause.while_trying("read back", &object));
            }
        }
        Ok(())
    }

    /// Pushes an image and returns its digest, as [`Client::push_manifest_and_blobs`]. The config
    /// comes from the image; `source` is asked for the layers only.
    pub async fn push_image(
        &self,
        reference: &Reference,
        image: &Image,
        source: &dyn BlobSource,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        let source = WithConfig { image, layers: source };
        self.push_manifest_and_blobs(reference, image.manifest(), &source, progress).await
    }

    /// Pushes a manifest after all that it names, and returns its digest, once the registry has
    /// confirmed it under the tag. `source` is asked for the config, too. Whether it is an image, or
    /// something else in the shape of one, is not looked at. Layers that may not be distributed stay
    /// where they are. A push that fails is repeated as often as the options say; what the registry
    /// has by then is not sent again.
    pub async fn push_manifest_and_blobs(
        &self,
        reference: &Reference,
        manifest: &Raw<ImageManifest>,
        source: &dyn BlobSource,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        let once = async || {
            let blobs = blobs(manifest);
            let pushes = blobs.iter().map(|blob| self.push_blob(reference, blob, source, progress));
            futures_util::stream::iter(pushes)
                .buffer_unordered(self.options().parallel.max(1))
                .try_collect::<()>()
                .await?;
            self.push_manifest(reference, &manifest.media_type(), manifest.bytes()).await
        };
        self.options().push_again.run(may_help, once).await
    }

    /// Pushes an index under its digest, and under the reference's tag if it has one, and returns
    /// its digest. The repository must have its manifests already ([`Client::push_image`] with
    /// [`Reference::by_digest`] puts them there): each is asked for before the index is sent.
    pub async fn push_index(
        &self,
        reference: &Reference,
        index: &Raw<ImageIndex>,
    ) -> Result<Digest> {
        let once = async || {
            for manifest in &index.manifests {
                self.confirm_manifest(&reference.by_digest(manifest.digest.clone())).await?;
            }
            self.push_manifest(reference, &index.media_type(), index.bytes()).await
        };
        self.options().push_again.run(may_help, once).await
    }
}

/// What a manifest names, each once, but for layers that may not be distributed.
fn blobs(manifest: &ImageManifest) -> Vec<Descriptor> {
    let mut seen = BTreeSet::new();
    let layers = manifest.layers.iter().filter(|layer| !layer.media_type.is_foreign());
    let all = layers.chain([&manifest.config]);
    all.filter(|blob| seen.insert(blob.digest.clone())).cloned().collect()
}

/// Whether a push that failed so may succeed when it is done again.
fn may_help(error: &Error) -> bool {
    !error.is_immutable_tag() && !error.is_ours()
}

/// The layers' source, and the config that the image itself holds.
struct WithConfig<'a> {
    image: &'a Image,
    layers: &'a dyn BlobSource,
}

impl BlobSource for WithConfig<'_> {
    fn locate(&self, descriptor: &Descriptor) -> std::io::Result<BlobOrigin> {
        if &descriptor.digest == self.image.config().digest() {
            return Ok(BlobOrigin::Bytes(self.image.config().bytes().to_vec().into()));
        }
        self.layers.locate(descriptor)
    }

    fn known_in(&self, descriptor: &Descriptor) -> Vec<Reference> {
        self.layers.known_in(descriptor)
    }
}
