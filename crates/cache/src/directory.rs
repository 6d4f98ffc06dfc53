//! A cache of layers in a directory: blobs by digest, and one small record per key.
//!
//! ```text
//! <root>/blobs/sha256/..    layers, verified when they came in
//! <root>/records/ab/cd..    records, written after their layer; mtime: last used
//! <root>/tmp/..             what is being written, locked by its writer
//! <root>/use.lock           shared by builds, so that a collection knows of them
//! ```
//! Any number of builds may share it, and others may write to it: nothing in it is followed or
//! believed. A record is two lines: its own digest, and the record.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use oci::{Descriptor, Digest, Reference};
use store::{BlobStore, SharedDir, SharedKind, Sharing, blob_path};

use crate::Result;
use crate::error::Error;
use crate::key::CacheKey;
use crate::layer_cache::{BoxFuture, CachedLayer, LayerCache, RECORD_LIMIT, Record};

/// What is being written.
pub(crate) const TEMPORARY: &str = "tmp";
/// Held shared by builds, alone by a collection.
pub(crate) const LOCK: &str = "use.lock";
pub(crate) const RECORDS: &str = "records";

/// Layers in a local directory.
#[derive(Clone, Debug)]
pub struct DirectoryCache {
    root: PathBuf,
    state: Arc<Use>,
}

/// What one program knows of a directory that it uses.
#[derive(Debug, Default)]
pub(crate) struct Use {
    /// Held while the cache is used, where it can be had.
    lock: OnceLock<Option<File>>,
    swept: AtomicBool,
}

impl Use {
    /// Notes that the cache is used, and says once where strangers can write.
    pub(crate) fn begin(&self, directory: &SharedDir, lock: &Path) {
        self.lock.get_or_init(|| {
            if directory.is_open_to_strangers() {
                tracing::warn!(
                    "other users can write to the cache `{}`: whoever does decides what is built",
                    directory.path().display()
                );
            }
            // On a disk that cannot be written to, nobody collects either.
            directory.lock(lock, Sharing::Shared).ok().flatten()
        });
    }

    /// Whether it is time to look for what dead writers left: once.
    pub(crate) fn may_sweep(&self) -> bool {
        !self.swept.swap(true, Ordering::Relaxed)
    }
}

impl DirectoryCache {
    /// The cache in `root`, which is made when something is put into it.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), state: Arc::default() }
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn read(&self, key: &CacheKey, oldest: Option<i64>) -> Result<Option<CachedLayer>> {
        let Some(directory) = SharedDir::find(&self.root)? else { return Ok(None) };
        self.state.begin(&directory, Path::new(LOCK));
        let path = record_path(key);
        let bytes = match directory.read(&path, RECORD_FILE_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => {
                tracing::warn!(%key, error = %Error::from(error).told(), "cache entry ignored");
                return Ok(None);
            }
        };
        let cached = match parse_record(&bytes, key) {
            Ok(cached) => cached,
            Err(reason) => {
                tracing::warn!(%key, "cache entry ignored: {reason}");
                return Ok(None);
            }
        };
        if cached.is_older_than(oldest) {
            return Ok(None);
        }
        if !holds(&directory, &cached.layer.descriptor) {
            tracing::warn!(%key, "cache entry ignored: its layer is gone or damaged");
            return Ok(None);
        }
        directory.note_use(&path);
        Ok(Some(cached))
    }

    fn write(&self, key: &CacheKey, layer: &CachedLayer, from: &BlobStore) -> Result<()> {
        let directory = SharedDir::make(&self.root)?;
        self.state.begin(&directory, Path::new(LOCK));
        let temporary = Path::new(TEMPORARY);
        if self.state.may_sweep() {
            // What is left for the next time disturbs nobody.
            let swept =
                directory.now(temporary).and_then(|now| directory.sweep(temporary, "", now));
            tracing::debug!(?swept, "what dead writers left in the cache");
        }
        let descriptor = &layer.layer.descriptor;
        let blob = blob_path(&descriptor.digest);
        if holds(&directory, descriptor) {
            // A collection that is about to take it sees that it is wanted.
            directory.note_use(&blob);
        } else {
            let file = from.open_blob(&descriptor.digest)?;
            directory.copy_in(temporary, &blob, file, descriptor)?;
        }
        let record = write_record(key, layer);
        Ok(directory.write(temporary, &record_path(key), record.as_bytes())?)
    }
}

/// The record, its digest, and the ends of their lines.
const RECORD_FILE_LIMIT: u64 = RECORD_LIMIT as u64 + 256;

/// A record and its digest, which finds a record that rots.
fn write_record(key: &CacheKey, layer: &CachedLayer) -> String {
    let record = Record::new(key, layer).into_json();
    format!("{}\n{record}\n", Digest::sha256_of(record.as_bytes()))
}

/// The result that a record's file tells of, if it is one of this key.
pub(crate) fn parse_record(
    bytes: &[u8],
    key: &CacheKey,
) -> std::result::Result<CachedLayer, &'static str> {
    let torn = "its record is damaged";
    let text = std::str::from_utf8(bytes).map_err(|_| torn)?;
    let (digest, record) = text.split_once('\n').ok_or(torn)?;
    let record = record.strip_suffix('\n').ok_or(torn)?;
    let digest = Digest::parse(digest).map_err(|_| torn)?;
    if !digest.matches(record.as_bytes()) {
        return Err(torn);
    }
    Record::parse(record.as_bytes(), key)
}

/// Whether a plain file of the right length has the layer's name.
pub(crate) fn holds(directory: &SharedDir, descriptor: &Descriptor) -> bool {
    let found = directory.entry(&blob_path(&descriptor.digest)).ok().flatten();
    found.is_some_and(|found| found.kind == SharedKind::File && found.size == descriptor.size)
}

pub(crate) fn record_path(key: &CacheKey) -> PathBuf {
    let text = key.to_string();
    let (first, rest) = text.split_at(2);
    Path::new(RECORDS).join(first).join(rest)
}

/// Whether bytes are wrong, rather than out of reach.
pub(crate) fn is_damage(error: &store::Error) -> bool {
    matches!(error, store::Error::Digest { .. } | store::Error::Size { .. })
}

impl LayerCache for DirectoryCache {
    fn name(&self) -> String {
        self.root.display().to_string()
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
        Box::pin(copy_out(self.root.clone(), PathBuf::new(), key, layer, blobs))
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

/// Brings a layer into a store from the directory `entry` of `root` (`""` is the root itself).
pub(crate) fn copy_out(
    root: PathBuf,
    entry: PathBuf,
    key: &CacheKey,
    layer: &CachedLayer,
    to: &BlobStore,
) -> impl Future<Output = Result<()>> + Send + 'static {
    let (key, descriptor, to) = (*key, layer.layer.descriptor.clone(), to.clone());
    let copy = move |descriptor: &Descriptor| {
        if to.contains(&descriptor.digest) {
            return Ok(());
        }
        let directory = SharedDir::open(&root)?;
        let path = entry.join(blob_path(&descriptor.digest));
        let file = directory.open_file(&path)?;
        copy_file(file, &to, descriptor).inspect_err(|error| {
            if is_damage(error) {
                // What is damaged now will not be found again.
                let _ = directory.remove(&path);
            }
        })
    };
    blocking(move || {
        copy(&descriptor).map_err(|source| Error::Layer {
            key: key.to_string(),
            digest: descriptor.digest,
            source,
        })
    })
}

/// Copies a file into a store, where it becomes visible only if it is what the descriptor says.
fn copy_file(file: File, to: &BlobStore, descriptor: &Descriptor) -> Result<(), store::Error> {
    let failed = |action: &'static str| {
        let path = to.path(&descriptor.digest);
        move |source| store::Error::Io { action, path, source }
    };
    // What is of another length need not be read to know.
    let found = file.metadata().map_err(failed("inspect"))?.len();
    if found != descriptor.size {
        let (digest, expected) = (descriptor.digest.clone(), descriptor.size);
        return Err(store::Error::Size { digest, expected, found });
    }
    copy_bytes(file, to, descriptor)
}

/// The same for bytes from wherever.
pub(crate) fn copy_bytes(
    bytes: impl Read,
    to: &BlobStore,
    descriptor: &Descriptor,
) -> Result<(), store::Error> {
    let failed = |action: &'static str| {
        let path = to.path(&descriptor.digest);
        move |source| store::Error::Io { action, path, source }
    };
    let mut writer = to.writer()?;
    // One byte more than there should be tells that there is too much.
    let mut bytes = bytes.take(descriptor.size.saturating_add(1));
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = bytes.read(&mut buffer).map_err(failed("read"))?;
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
