//! A cache of layers as OCI layouts: kaniko's `oci:PATH`.
//!
//! ```text
//! PATH:<64 hex>/       one entry: a layout with one image of one layer; index.json's mtime: last used
//! PATH:tmp-<..>/       an entry that is being written, locked by its writer
//! PATH:lock            shared by builds, so that a collection knows of them
//! ```
//! An entry gets its name when it is whole, in exchange for the one before it. Nothing in it is
//! followed, and no document in it is believed that its digest does not name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::{Digest, Document, ImageConfig, ImageIndex, ImageManifest, Raw, Reference};
use store::{BlobStore, LAYOUT_MARKER, SharedDir, blob_path};

use crate::Result;
use crate::directory::{Use, blocking, copy_out, holds};
use crate::entry;
use crate::error::Error;
use crate::key::CacheKey;
use crate::layer_cache::{BoxFuture, CachedLayer, LayerCache};

const MARKER_NAME: &str = "oci-layout";
pub(crate) const INDEX: &str = "index.json";
/// Behind the path, where an entry has its key.
pub(crate) const TEMPORARY: &str = ":tmp-";
pub(crate) const LOCK: &str = ":lock";

/// Layers as OCI layouts side by side.
#[derive(Clone, Debug)]
pub struct LayoutCache {
    pub(crate) beside: Beside,
    state: Arc<Use>,
}

/// The directory in which the entries are, and what all their names begin with.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    pub(crate) directory: PathBuf,
    pub(crate) prefix: OsString,
}

impl Beside {
    /// Of the path as the user wrote it: an entry's name is this text and what stands behind it.
    pub(crate) fn new(path: &Path) -> Self {
        let bytes = path.as_os_str().as_bytes();
        let cut = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (directory, prefix) = bytes.split_at(cut);
        let directory = if directory.is_empty() { b"." } else { directory };
        Self {
            directory: PathBuf::from(OsStr::from_bytes(directory)),
            prefix: OsStr::from_bytes(prefix).to_owned(),
        }
    }

    pub(crate) fn name(&self, behind: &str) -> PathBuf {
        let mut name = self.prefix.clone();
        name.push(behind);
        PathBuf::from(name)
    }

    pub(crate) fn entry(&self, key: &CacheKey) -> PathBuf {
        self.name(&format!(":{key}"))
    }
}

impl LayoutCache {
    /// The cache whose entries are `path`, a colon and the key. Nothing is touched yet.
    pub fn new(path: &Path) -> Self {
        Self { beside: Beside::new(path), state: Arc::default() }
    }

    fn read(&self, key: &CacheKey, oldest: Option<i64>) -> Result<Option<CachedLayer>> {
        let Some(directory) = SharedDir::find(&self.beside.directory)? else { return Ok(None) };
        let name = self.beside.entry(key);
        if directory.entry(&name)?.is_none() {
            return Ok(None);
        }
        self.state.begin(&directory, &self.beside.name(LOCK));
        let read = directory.subdir(&name).map_err(Error::from);
        let cached = match read.and_then(|entry| read_entry(&entry, key)) {
            Ok(cached) => cached,
            Err(error) => {
                tracing::warn!(%key, error = %error.told(), "cache entry ignored");
                return Ok(None);
            }
        };
        if cached.is_older_than(oldest) {
            return Ok(None);
        }
        directory.note_use(&name.join(INDEX));
        Ok(Some(cached))
    }

    fn write(&self, key: &CacheKey, layer: &CachedLayer, from: &BlobStore) -> Result<()> {
        let directory = SharedDir::make(&self.beside.directory)?;
        self.state.begin(&directory, &self.beside.name(LOCK));
        let temporary = self.beside.name(TEMPORARY);
        let filled = directory.temporary_directory(temporary.as_os_str())?;
        if self.state.may_sweep() {
            let (prefix, here) = (temporary.to_string_lossy(), Path::new(""));
            let swept = filled.made().and_then(|now| directory.sweep(here, &prefix, now));
            // What is left for the next time disturbs nobody.
            tracing::debug!(?swept, "what dead writers left in the cache");
        }
        let descriptor = &layer.layer.descriptor;
        let file = match from.open_blob(&descriptor.digest) {
            Err(error) if error.is_not_found() => self.own_copy(&directory, key, layer)?,
            other => other?,
        };
        let (image, entry) = (entry::image(key, layer), filled.directory());
        entry.copy_new(&blob_path(&descriptor.digest), file, descriptor)?;
        entry.write_new(&blob_path(image.config().digest()), image.config().bytes())?;
        entry.write_new(&blob_path(image.digest()), image.manifest().bytes())?;
        entry.write_new(Path::new(MARKER_NAME), LAYOUT_MARKER.as_bytes())?;
        let index = Raw::from_value(ImageIndex::new(vec![image.manifest_descriptor()]));
        entry.write_new(Path::new(INDEX), index.bytes())?;
        for below in ["blobs/sha256", "blobs", ""] {
            entry.sync_names(Path::new(below))?;
        }
        Ok(filled.place(&self.beside.entry(key))?)
    }

    /// The bytes from an earlier entry of the same result; what they are is found out when they are
    /// copied.
    fn own_copy(&self, directory: &SharedDir, key: &CacheKey, layer: &CachedLayer) -> Result<File> {
        let digest = &layer.layer.descriptor.digest;
        for other in [key, &layer.content] {
            let path = self.beside.entry(other).join(blob_path(digest));
            if let Ok(file) = directory.open_file(&path) {
                return Ok(file);
            }
        }
        Err(store::Error::Missing(digest.clone()).into())
    }
}

/// The result that a layout tells of, if it is one of this key.
pub(crate) fn read_entry(entry: &SharedDir, key: &CacheKey) -> Result<CachedLayer> {
    let foreign = |reason| Error::Entry { key: key.to_string(), reason };
    let marker: serde_json::Value =
        serde_json::from_slice(&entry.read(MARKER_NAME.as_ref(), 4096)?)
            .map_err(|_| foreign("its marker cannot be read"))?;
    if marker["imageLayoutVersion"] != "1.0.0" {
        return Err(foreign("it is a layout of another version"));
    }
    let index = entry.read(INDEX.as_ref(), ImageIndex::LIMIT as u64)?;
    let index: Raw<ImageIndex> =
        Raw::parse(index).map_err(|_| foreign("its index cannot be read"))?;
    let [descriptor] = index.manifests.as_slice() else {
        return Err(foreign("it has not one image"));
    };
    let manifest: Raw<ImageManifest> = document(entry, &descriptor.digest)
        .ok_or_else(|| foreign("its manifest is gone or damaged"))?;
    let config: Raw<ImageConfig> = document(entry, &manifest.config.digest)
        .ok_or_else(|| foreign("its config is gone or damaged"))?;
    let cached = entry::read(key, &manifest, &config).map_err(foreign)?;
    if !holds(entry, &cached.layer.descriptor) {
        return Err(foreign("its layer is gone or damaged"));
    }
    Ok(cached)
}

fn document<T: Document>(entry: &SharedDir, digest: &Digest) -> Option<Raw<T>> {
    let bytes = entry.read(&blob_path(digest), T::LIMIT as u64).ok()?;
    Raw::parse_expecting(bytes, digest).ok()
}

impl LayerCache for LayoutCache {
    fn name(&self) -> String {
        format!("oci:{}", self.beside.directory.join(&self.beside.prefix).display())
    }

    fn repository(&self) -> Option<&Reference> {
        None
    }

    fn look_up<'a>(
        &'a self,
        key: &'a CacheKey,
        oldest: Option<i64>,
    ) -> BoxFuture<'a, Result<Option<CachedLayer>>> {
        let (this, key) = (self.clone(), *key);
        Box::pin(blocking(move || this.read(&key, oldest)))
    }

    fn fetch<'a>(
        &'a self,
        key: &'a CacheKey,
        layer: &'a CachedLayer,
        blobs: &'a BlobStore,
    ) -> BoxFuture<'a, Result<()>> {
        let (root, entry) = (self.beside.directory.clone(), self.beside.entry(key));
        Box::pin(copy_out(root, entry, key, layer, blobs))
    }

    fn put<'a>(
        &'a self,
        key: &'a CacheKey,
        layer: &'a CachedLayer,
        blobs: &'a BlobStore,
    ) -> BoxFuture<'a, Result<()>> {
        let (this, key, from, layer) = (self.clone(), *key, blobs.clone(), layer.clone());
        Box::pin(blocking(move || this.write(&key, &layer, &from)))
    }
}
