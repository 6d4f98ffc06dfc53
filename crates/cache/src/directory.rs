//! A cache of layers in a directory: blobs by digest, and one small record per key.
//!
//! ```text
//! <root>/blobs/sha256/..    layers, verified when they came in
//! <root>/records/ab/cd..    records, written after their layer
//! ```
//! Any number of builds may share it.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use oci::{Descriptor, Reference};
use store::BlobStore;

use crate::Result;
use crate::error::Error;
use crate::key::CacheKey;
use crate::layer_cache::{BoxFuture, CachedLayer, LayerCache, Record};

/// No record is longer.
const RECORD_LIMIT: u64 = 1 << 20;

/// Layers in a local directory.
#[derive(Clone, Debug)]
pub struct DirectoryCache {
    blobs: BlobStore,
}

impl DirectoryCache {
    /// Opens the cache in `root`, which is made where missing.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self { blobs: BlobStore::open(root)? })
    }

    fn record_path(&self, key: &CacheKey) -> PathBuf {
        let text = key.to_string();
        let (first, rest) = text.split_at(2);
        self.blobs.root().join("records").join(first).join(rest)
    }

    fn read(&self, key: &CacheKey, oldest: Option<i64>) -> Option<CachedLayer> {
        let path = self.record_path(key);
        if std::fs::symlink_metadata(&path).is_err() {
            return None;
        }
        let bytes = match store::read_file(&path, RECORD_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%key, %error, "cache record ignored");
                return None;
            }
        };
        let record = serde_json::from_slice::<Record>(&bytes).ok();
        let Some(cached) = record.and_then(|record| record.for_key(key)) else {
            tracing::warn!(%key, "cache record ignored: it is not one of this key and version");
            return None;
        };
        if oldest.is_some_and(|oldest| cached.created < oldest) {
            return None;
        }
        let descriptor = &cached.layer.descriptor;
        let size = self.blobs.size(&descriptor.digest).ok().flatten();
        (size == Some(descriptor.size)).then_some(cached)
    }
}

impl LayerCache for DirectoryCache {
    fn name(&self) -> String {
        self.blobs.root().display().to_string()
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
        Box::pin(blocking(move || Ok(this.read(&key, oldest))))
    }

    fn fetch<'a>(
        &'a self,
        key: &'a CacheKey,
        layer: &'a CachedLayer,
        blobs: &'a BlobStore,
    ) -> BoxFuture<'a, Result<()>> {
        let (this, key, target) = (self.clone(), *key, blobs.clone());
        let descriptor = layer.layer.descriptor.clone();
        Box::pin(blocking(move || {
            copy(&this.blobs, &target, &descriptor).map_err(|source| {
                // What is damaged now will not be found again.
                let _ = this.blobs.remove(&descriptor.digest);
                Error::Layer { key: key.to_string(), digest: descriptor.digest.clone(), source }
            })
        }))
    }

    fn put<'a>(
        &'a self,
        key: &'a CacheKey,
        layer: &'a CachedLayer,
        blobs: &'a BlobStore,
    ) -> BoxFuture<'a, Result<()>> {
        let (this, key, from, layer) = (self.clone(), *key, blobs.clone(), layer.clone());
        Box::pin(blocking(move || {
            let descriptor = &layer.layer.descriptor;
            // A blob of the wrong length is a damaged one.
            if this.blobs.size(&descriptor.digest)? != Some(descriptor.size) {
                copy_in(&from, &this.blobs, descriptor)?;
            }
            let bytes = serde_json::to_vec(&Record::new(&key, &layer))
                .expect("because a record is plain values");
            Ok(store::write_output(&this.record_path(&key), &bytes)?)
        }))
    }
}

/// Copies unless it is there.
fn copy(from: &BlobStore, to: &BlobStore, descriptor: &Descriptor) -> Result<(), store::Error> {
    if to.contains(&descriptor.digest) {
        return Ok(());
    }
    copy_in(from, to, descriptor)
}

/// Copies and compares with digest and size.
fn copy_in(from: &BlobStore, to: &BlobStore, descriptor: &Descriptor) -> Result<(), store::Error> {
    let file = from.open_blob(&descriptor.digest)?;
    copy_file(file, to, descriptor)
}

/// Copies a file into a store, where it becomes visible only if it is what the descriptor says.
pub(crate) fn copy_file(
    file: std::fs::File,
    to: &BlobStore,
    descriptor: &Descriptor,
) -> Result<(), store::Error> {
    let mut writer = to.writer()?;
    let failed = |action: &'static str| {
        let path = to.path(&descriptor.digest);
        move |source| store::Error::Io { action, path, source }
    };
    // One byte more than there should be tells that there is too much.
    let mut file = file.take(descriptor.size.saturating_add(1));
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = file.read(&mut buffer).map_err(failed("read"))?;
        if length == 0 {
            break;
        }
        writer.write_all(&buffer[..length]).map_err(failed("write"))?;
    }
    writer.commit(&descriptor.digest, descriptor.size)
}

/// Runs file work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // A panic goes on where it belongs; the runtime shutting down leaves nobody to answer.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
