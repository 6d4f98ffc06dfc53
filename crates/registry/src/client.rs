//! The client: skeleton.
#![allow(clippy::todo, unused_variables)]

use oci::{
    BaseImage, Descriptor, Digest, Image, ImageConfig, ImageManifest, Platform, Raw, Reference,
};

use crate::{BlobSource, BlobStream, ClientOptions, Progress, Result};

/// A client of any number of registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {}

/// An image as a registry describes it; no layer has been fetched.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Repository and digest of the manifest: what to pull its blobs from.
    pub reference: Reference,
    /// The manifest of the one platform.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Raw<ImageManifest>,
    /// The config.
    pub config: Raw<ImageConfig>,
}

impl Resolved {
    /// The image as a base.
    pub fn base_image(&self) -> std::result::Result<BaseImage, oci::Error> {
        todo!()
    }
}

impl Client {
    /// A client. Does not connect.
    pub fn new(options: ClientOptions) -> Result<Self> {
        todo!()
    }

    /// Finds an image: manifest, or the one of an index that fits the platform, and its config.
    pub async fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Resolved> {
        todo!()
    }

    /// Starts fetching a blob. Faults on the way are resumed from.
    pub async fn pull_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobStream> {
        todo!()
    }

    /// Whether the repository may be pushed to: opens an upload and cancels it.
    pub async fn check_push(&self, reference: &Reference) -> Result<()> {
        todo!()
    }

    /// Whether the repository has the blob.
    pub async fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<bool> {
        todo!()
    }

    /// Takes a blob over from another repository of the same registry, if the registry will.
    pub async fn mount_blob(
        &self,
        to: &Reference,
        from: &Reference,
        digest: &Digest,
    ) -> Result<bool> {
        todo!()
    }

    /// Puts one blob into the repository, unless it is there or can be mounted.
    pub async fn push_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: &dyn BlobSource,
        progress: &dyn Progress,
    ) -> Result<()> {
        todo!()
    }

    /// Pushes an image: blobs, then the manifest by digest, then the tag; returns the digest once
    /// the registry confirmed it.
    pub async fn push_image(
        &self,
        reference: &Reference,
        image: &Image,
        source: &dyn BlobSource,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        todo!()
    }
}
