//! Asking for an image that may well not be there, in the one repository that is meant: what stands in
//! for registries when images are pulled is not asked, and no rule about images applies.

use oci::{ImageConfig, ImageManifest, Raw, Reference};

use crate::Result;
use crate::client::Client;
use crate::error::Cause;
use crate::manifest::fetch;

impl Client {
    /// The manifest of one image that has this name; `None` where there is none, or no repository.
    /// Another document under the name is an error whose cause is [`Cause::Document`].
    pub async fn find_manifest(&self, reference: &Reference) -> Result<Option<Raw<ImageManifest>>> {
        let asked = async {
            let endpoint = self.endpoint(reference.registry())?;
            let fetched = match fetch(&endpoint, reference).await {
                Err(cause) if cause.status() == Some(404) => return Ok(None),
                other => other?,
            };
            let manifest = Raw::parse_expecting(fetched.bytes.to_vec(), &fetched.digest)?;
            Ok::<_, Cause>(Some(manifest))
        };
        asked.await.map_err(|cause| cause.while_trying("look for", reference))
    }

    /// The config that a manifest of this repository names. Does not wait for its turn among blobs.
    pub async fn read_config(
        &self,
        reference: &Reference,
        manifest: &ImageManifest,
    ) -> Result<Raw<ImageConfig>> {
        self.config_of(reference, manifest, self.patience(), None).await
    }
}
