//! What a build makes: an image, or one for each platform and the index that joins them.

use oci::{Descriptor, Digest, Image, ImageIndex, Platform, Raw};

use crate::error::Error;
use crate::request::{BuildRequest, IndexOptions};

/// The result of a build.
#[derive(Debug, Clone)]
pub(crate) struct Product {
    /// In the order of the request's platforms.
    pub images: Vec<PlatformImage>,
    /// Where there is one, the images are known by its name alone.
    pub index: Option<Raw<ImageIndex>>,
    /// By what the result is known.
    pub digest: Digest,
}

/// One image.
#[derive(Debug, Clone)]
pub(crate) struct PlatformImage {
    /// As the caller named it, which is how files are called after it.
    pub platform: Platform,
    pub image: Image,
}

impl Product {
    /// From the images, in the order of the request's platforms.
    pub(crate) fn new(images: Vec<Image>, request: &BuildRequest) -> Result<Product, Error> {
        let named = request.platforms.iter().cloned().map(Some).chain(std::iter::repeat(None));
        let images = images.into_iter().zip(named).map(|(image, named)| PlatformImage {
            platform: named.unwrap_or_else(|| image.config().platform()),
            image,
        });
        let images: Vec<PlatformImage> = images.collect();
        let entries = || images.iter().map(|one| one.image.index_entry()).collect();
        let index = request.outputs.index.as_ref().map(|options| options.index(entries()));
        let digest = match &index {
            Some(index) => index.digest().clone(),
            None => images.first().ok_or(Error::Worker)?.image.digest().clone(),
        };
        Ok(Product { images, index, digest })
    }
}

impl IndexOptions {
    /// The index of these images.
    pub(crate) fn index(&self, entries: Vec<Descriptor>) -> Raw<ImageIndex> {
        Raw::from_value(ImageIndex::of(self.format, entries, self.annotations.clone()))
    }
}
