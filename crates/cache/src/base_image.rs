//! The cache of base images: one OCI layout per image, in a directory named by the digest of the
//! platform's manifest, as kaniko lays it out. The warmer writes, builds read.
//!
//! ```text
//! <root>/sha256:<hex>/          an OCI layout with one image
//! <root>/.warmer-locks/<..>.lock
//! ```
//! An entry is there when its `index.json` is, which is written last. Whoever reads believes
//! nothing: documents are compared with their digests, layers when they are copied out.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::{BaseImage, Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest, Raw};
use store::{BlobStore, OciLayout};

use crate::Result;
use crate::error::Error;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A directory of base images.
#[derive(Clone, Debug)]
pub struct BaseImageCache {
    root: PathBuf,
}

impl BaseImageCache {
    /// The cache in `root`; nothing is touched yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where an image is, or would be.
    pub fn entry(&self, digest: &Digest) -> PathBuf {
        self.root.join(digest.as_str())
    }

    /// The image whose platform's manifest has this digest, unless it was fetched before `oldest`.
    /// An entry that cannot be read is not there; the reason is a warning.
    pub fn find(&self, digest: &Digest, oldest: Option<SystemTime>) -> Option<CachedImage> {
        let path = self.entry(digest);
        let metadata = std::fs::symlink_metadata(&path).ok()?;
        // A link would let whoever may write here point anywhere; kaniko's older files are tarballs.
        if !metadata.is_dir() {
            return None;
        }
        let index = std::fs::symlink_metadata(path.join("index.json")).ok()?;
        if oldest.is_some_and(|oldest| index.modified().is_ok_and(|fetched| fetched < oldest)) {
            return None;
        }
        match CachedImage::read(&path, digest) {
            Ok(image) => Some(image),
            Err(error) => {
                tracing::warn!(%digest, %error, "entry of the base image cache ignored");
                None
            }
        }
    }

    /// The store an entry is filled through.
    pub(crate) fn fill(&self, digest: &Digest) -> Result<BlobStore> {
        make_directory(&self.root)?;
        make_directory(&self.entry(digest))?;
        Ok(BlobStore::open(&self.entry(digest))?)
    }

    /// Makes an entry visible: all blobs are there.
    pub(crate) fn publish(&self, manifest: &Descriptor, name: &str) -> Result<()> {
        let entry = self.entry(&manifest.digest);
        let mut descriptor = manifest.clone();
        descriptor.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        let index = Raw::from_value(ImageIndex::new(vec![descriptor]));
        store::write_output(&entry.join("oci-layout"), MARKER)?;
        store::write_output(&entry.join("index.json"), index.bytes())?;
        Ok(())
    }

    /// The file whose lock belongs to the one who fills an entry.
    pub(crate) fn lock_path(&self, digest: &Digest) -> Result<PathBuf> {
        let directory = self.root.join(".warmer-locks");
        make_directory(&directory)?;
        Ok(directory.join(format!("{digest}.lock")))
    }
}

fn make_directory(path: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|source| Error::Directory { path: path.to_owned(), source })
}

/// An image of the cache. Manifest and config are verified, layers are not.
#[derive(Clone, Debug)]
pub struct CachedImage {
    layout: OciLayout,
    descriptor: Descriptor,
    manifest: Raw<ImageManifest>,
    config: Raw<ImageConfig>,
}

impl CachedImage {
    fn read(path: &Path, digest: &Digest) -> Result<Self> {
        let layout = OciLayout::read(path)?;
        let found = layout.index().manifests.iter().find(|entry| entry.digest == *digest);
        let descriptor = found.cloned().ok_or_else(|| store::Error::Missing(digest.clone()))?;
        let manifest = layout.manifest(&descriptor)?;
        let config = layout.config(&manifest.config)?;
        Ok(Self { layout, descriptor, manifest, config })
    }

    /// What the index says about the manifest, without the name it was fetched by.
    pub fn descriptor(&self) -> Descriptor {
        let mut descriptor = self.descriptor.clone();
        descriptor.annotations.remove(REF_NAME);
        descriptor
    }

    /// The manifest.
    pub fn manifest(&self) -> &Raw<ImageManifest> {
        &self.manifest
    }

    /// The config.
    pub fn config(&self) -> &Raw<ImageConfig> {
        &self.config
    }

    /// The image as a base; refused when manifest and config do not fit together.
    pub fn base_image(&self) -> std::result::Result<BaseImage, oci::Error> {
        BaseImage::new(self.descriptor(), &self.manifest, self.config.clone())
    }

    /// Opens a layer. Its content must still be compared with its digest: [`crate::Fetcher`] does.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        Ok(self.layout.open_blob(digest)?)
    }
}
