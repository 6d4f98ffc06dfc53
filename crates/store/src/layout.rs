//! [`OciLayout`]: an image as a directory, as the OCI image layout specification has it.

use std::io::Read;
use std::path::{Path, PathBuf};

use oci::{Descriptor, Digest, Document, Image, ImageConfig, ImageIndex, ImageManifest, Raw};

use crate::blob::{BlobStore, create_dir_all, open_read};
use crate::error::{Error, Result, failed};
use crate::output::write_output;

/// What the file `oci-layout` of a layout holds.
pub const LAYOUT_MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// The annotation of an image in an index by which tools find it.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An OCI layout on disk.
#[derive(Clone, Debug)]
pub struct OciLayout {
    path: PathBuf,
    index: Raw<ImageIndex>,
}

impl OciLayout {
    /// Writes `image`, whose layers are in `blobs`, as the layout's only image, as kaniko's
    /// `--oci-layout-path` does. `name` becomes the annotation by which tools find the image.
    ///
    /// The index is written last and at once: a reader sees the image before or this one.
    pub fn write(
        path: &Path,
        image: &Image,
        blobs: &BlobStore,
        name: Option<&str>,
    ) -> Result<Self> {
        let mut descriptor = image.manifest_descriptor();
        if let Some(name) = name {
            descriptor.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        }
        Self::write_blobs(path, image, blobs)?;
        Self::write_index(path, vec![descriptor])
    }

    /// Writes an index of `images` as the layout's only entry, and the images below it; blobs that
    /// several of them share are there once.
    pub fn write_several(
        path: &Path,
        index: &Raw<ImageIndex>,
        images: &[&Image],
        blobs: &BlobStore,
        name: Option<&str>,
    ) -> Result<Self> {
        for image in images {
            Self::write_blobs(path, image, blobs)?;
        }
        write_output(&path.join(blob_path(index.digest())), index.bytes())?;
        let mut descriptor = index.descriptor(index.media_type());
        if let Some(name) = name {
            descriptor.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        }
        Self::write_index(path, vec![descriptor])
    }

    /// Writes `image` beside the images that are in the layout; one of the same name is replaced.
    pub fn append(path: &Path, image: &Image, blobs: &BlobStore, name: &str) -> Result<Self> {
        let mut manifests = match Self::read(path) {
            Ok(layout) => layout.index.value().manifests.clone(),
            Err(_) if !path.join("index.json").exists() => Vec::new(),
            Err(error) => return Err(error),
        };
        let is_other =
            |found: &Descriptor| found.annotations.get(REF_NAME).is_none_or(|n| n != name);
        manifests.retain(is_other);
        let mut descriptor = image.manifest_descriptor();
        descriptor.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        manifests.push(descriptor);
        Self::write_blobs(path, image, blobs)?;
        Self::write_index(path, manifests)
    }

    /// Reads the layout at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let marker = path.join("oci-layout");
        let text = read(&marker, 4096)?;
        let version = serde_json::from_slice::<serde_json::Value>(&text).ok();
        let version = version.as_ref().and_then(|marker| marker["imageLayoutVersion"].as_str());
        match version {
            Some("1.0.0") => {}
            Some(_) => return Err(not_a_layout(path, "its version is not 1.0.0")),
            None => return Err(not_a_layout(path, "its marker has no version")),
        }
        let index = path.join("index.json");
        let bytes = read(&index, ImageIndex::LIMIT as u64)?;
        let index = Raw::parse(bytes).map_err(invalid(&index))?;
        Ok(Self { path: path.to_owned(), index })
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &Raw<ImageIndex> {
        &self.index
    }

    /// The descriptor of the image that carries this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Descriptor> {
        let named =
            |found: &&Descriptor| found.annotations.get(REF_NAME).is_some_and(|n| n == name);
        self.index.value().manifests.iter().find(named)
    }

    /// Reads a manifest and verifies it.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Raw<ImageManifest>> {
        self.document(&descriptor.digest)
    }

    /// Reads an index below the index and verifies it.
    pub fn nested_index(&self, descriptor: &Descriptor) -> Result<Raw<ImageIndex>> {
        self.document(&descriptor.digest)
    }

    /// Reads a config and verifies it.
    pub fn config(&self, descriptor: &Descriptor) -> Result<Raw<ImageConfig>> {
        self.document(&descriptor.digest)
    }

    /// Where a blob is, or would be.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join(blob_path(digest))
    }

    /// Opens a blob, which must be a plain file of this directory: somebody else may have filled it.
    /// The content is not compared with the digest.
    pub fn open_blob(&self, digest: &Digest) -> Result<std::fs::File> {
        crate::read::open_regular(&self.blob_path(digest))
    }

    /// The layout's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn document<T: Document>(&self, digest: &Digest) -> Result<Raw<T>> {
        let path = self.blob_path(digest);
        let bytes = read(&path, T::LIMIT as u64)?;
        Raw::parse_expecting(bytes, digest).map_err(invalid(&path))
    }

    fn write_blobs(path: &Path, image: &Image, blobs: &BlobStore) -> Result<()> {
        create_dir_all(&path.join("blobs/sha256"))?;
        for layer in image.layers() {
            let descriptor = &layer.descriptor;
            if descriptor.media_type.is_foreign() && !blobs.contains(&descriptor.digest) {
                continue;
            }
            copy_blob(blobs, descriptor, &path.join(blob_path(&descriptor.digest)))?;
        }
        write_output(
            &path.join(blob_path(&image.config_descriptor().digest)),
            image.config().bytes(),
        )?;
        write_output(&path.join(blob_path(image.digest())), image.manifest().bytes())?;
        write_output(&path.join("oci-layout"), LAYOUT_MARKER.as_bytes())
    }

    fn write_index(path: &Path, manifests: Vec<Descriptor>) -> Result<Self> {
        let index = Raw::from_value(ImageIndex::new(manifests));
        write_output(&path.join("index.json"), index.bytes())?;
        Ok(Self { path: path.to_owned(), index })
    }
}

/// Copies out of the store. The bytes are compared on the way: the output is what its digest says
/// also when the disk that holds the store is not.
fn copy_blob(blobs: &BlobStore, descriptor: &Descriptor, target: &Path) -> Result<()> {
    let digest = &descriptor.digest;
    if std::fs::metadata(target).is_ok_and(|metadata| metadata.len() == descriptor.size) {
        let found = open_read(target).map_err(failed("open", target))?;
        if crate::blob::digest_of(found, digest.algorithm(), target)? == *digest {
            return Ok(());
        }
    }
    if let Some(parent) = target.parent() {
        create_dir_all(parent)?;
    }
    let mut source = crate::verified::Verified::new(blobs.open_blob(digest)?, descriptor);
    let output = crate::output::Output::create(target)?;
    output.finish(|file| std::io::copy(&mut source, file).map(drop))
}

/// Where a blob is in a layout, or in another directory that holds blobs as layouts do.
#[must_use]
pub fn blob_path(digest: &Digest) -> PathBuf {
    // A digest holds nothing but its algorithm's name and hexadecimal digits.
    Path::new("blobs").join(digest.algorithm().as_str()).join(digest.hex())
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = open_read(path).map_err(failed("open", path))?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells the parser that the document is too long.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(bytes)
}

fn not_a_layout(path: &Path, reason: &'static str) -> Error {
    Error::NotALayout { path: path.to_owned(), reason }
}

fn invalid(path: &Path) -> impl FnOnce(oci::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Document { path, source: Box::new(source) }
}
