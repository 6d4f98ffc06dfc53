//! The side of the base-image cache that warmers write.
//!
//! ```text
//! <root>/.warmer/run.lock     shared by all warmers at work
//! <root>/.warmer/blobs/..     each blob once; entries have further names of the same files
//! <root>/.warmer/entries/..   entries that are being put together
//! <root>/.warmer/locks/..     whose turn it is to fetch a blob
//! <root>/.warmer-locks/..     whose turn it is to make an entry, as kaniko has it
//! ```
//! An entry comes into its place at once and whole, so a warmer that dies leaves none that reads as
//! one. What it did fetch serves the next; what nobody needs goes when no other warmer is at work.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use oci::{Descriptor, Digest, ImageIndex, Raw, Reference};
use registry::Resolved;
use store::{BlobStore, LAYOUT_MARKER, Linked, REF_NAME, StoreLock, blob_path};

use crate::Result;
use crate::base_image::{BaseImageCache, CachedImage, MORE_NAMES};
use crate::error::Error;

/// How long what a dead warmer left may still serve another.
const LEFTOVERS: Duration = Duration::from_secs(24 * 60 * 60);

/// What warmers share.
#[derive(Debug)]
pub(crate) struct Pool {
    cache: BaseImageCache,
    blobs: BlobStore,
    /// Held while this warmer works; nothing where another one is stuck while it cleans up.
    run: Option<StoreLock>,
    /// Blobs that could not be linked: they take up room that nobody needs.
    copied: Mutex<BTreeSet<Digest>>,
}

impl Pool {
    /// Opens it; its directories are made where missing.
    pub(crate) fn open(cache: &BaseImageCache, run: Option<StoreLock>) -> Result<Self> {
        for name in ["entries", "locks"] {
            make_directory(&directory(cache).join(name))?;
        }
        let blobs = BlobStore::open(&directory(cache))?;
        Ok(Self { cache: cache.clone(), blobs, run, copied: Mutex::default() })
    }

    /// The blobs.
    pub(crate) fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// Makes an entry of what is in the pool, and puts it in the place of an older one.
    pub(crate) fn publish(&self, image: &Resolved, name: &Reference) -> Result<()> {
        let digest = &image.descriptor.digest;
        let stage = self.new_stage(digest)?;
        let made = self
            .fill(&stage, image, name)
            .and_then(|()| Ok(store::replace_directory(&stage, &self.cache.entry(digest))?));
        if made.is_err() {
            // What stays is swept later.
            let _ = store::remove_directory(&stage);
        }
        made
    }

    fn new_stage(&self, digest: &Digest) -> Result<PathBuf> {
        let entries = directory(&self.cache).join("entries");
        let mut number = 0;
        loop {
            // Another machine's warmer may have the same process id.
            let name = format!("{}.{}-{number}", digest.hex(), std::process::id());
            let path = entries.join(name);
            match DirBuilder::new().mode(0o755).create(&path) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(Error::Directory { path, source }),
            }
        }
    }

    fn fill(&self, stage: &Path, image: &Resolved, name: &Reference) -> Result<()> {
        let layers = image.manifest.layers.iter();
        let digests = layers.filter(|layer| !layer.media_type.is_foreign());
        let digests: BTreeSet<&Digest> = digests.map(|layer| &layer.digest).collect();
        for digest in digests {
            if self.blobs.link(digest, &stage.join(blob_path(digest)))? == Linked::Copied {
                let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
                copied.insert(digest.clone());
            }
        }
        let manifest = &image.descriptor.digest;
        let config = &image.manifest.config.digest;
        for (digest, bytes) in [(config, image.config.bytes()), (manifest, image.manifest.bytes())]
        {
            store::write_output(&stage.join(blob_path(digest)), bytes)?;
        }
        store::write_output(&stage.join("oci-layout"), LAYOUT_MARKER.as_bytes())?;
        write_index(stage, &image.descriptor, &[name.to_string()])
    }

    /// Ends this warmer's work, and removes what nobody needs where no other one is at work.
    pub(crate) fn close(mut self, now: SystemTime) -> Result<()> {
        self.run = None;
        let alone = StoreLock::exclusive(&run_lock(&self.cache)).ok();
        let since = now.checked_sub(LEFTOVERS).unwrap_or(SystemTime::UNIX_EPOCH);
        let old = |path: &Path| {
            let modified = std::fs::symlink_metadata(path).and_then(|found| found.modified());
            modified.is_ok_and(|modified| modified < since)
        };
        for path in listed(&directory(&self.cache).join("entries")) {
            if alone.is_some() || old(&path) {
                store::remove_directory(&path)?;
            }
        }
        if alone.is_none() {
            return Ok(());
        }
        for path in listed(&directory(&self.cache).join("locks")) {
            store::remove_directory(&path)?;
        }
        for digest in self.copied.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            self.blobs.remove(digest)?;
        }
        self.blobs.collect_unlinked(since)?;
        for path in listed(&self.cache.root().join(".indexes")) {
            if !self.leads_somewhere(&path) {
                store::remove_directory(&path)?;
            }
        }
        Ok(())
    }

    /// Whether an index has an image in the cache.
    fn leads_somewhere(&self, path: &Path) -> bool {
        let bytes = store::read_file(path, u64::from(u32::MAX)).ok();
        let index = bytes.and_then(|bytes| Raw::<ImageIndex>::parse(bytes).ok());
        let entry = |found: &Descriptor| self.cache.entry(&found.digest);
        index.is_some_and(|index| index.manifests.iter().any(|found| entry(found).exists()))
    }
}

/// Where warmers work.
fn directory(cache: &BaseImageCache) -> PathBuf {
    cache.root().join(".warmer")
}

/// The lock that every warmer shares.
pub(crate) fn run_lock(cache: &BaseImageCache) -> PathBuf {
    directory(cache).join("run.lock")
}

/// The lock of who fetches a blob.
pub(crate) fn blob_lock(cache: &BaseImageCache, digest: &Digest) -> PathBuf {
    directory(cache).join("locks").join(digest.as_str())
}

/// The lock of who makes an entry.
pub(crate) fn entry_lock(cache: &BaseImageCache, digest: &Digest) -> PathBuf {
    cache.root().join(".warmer-locks").join(format!("{digest}.lock"))
}

/// Tries to take a lock, together with others or alone.
pub(crate) fn try_lock(
    path: &Path,
    take: fn(&Path) -> store::Result<StoreLock>,
) -> Result<StoreLock> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    Ok(take(path)?)
}

/// Makes a directory; a link in its place would lead elsewhere.
fn make_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    let found = made.and_then(|()| std::fs::symlink_metadata(path));
    let checked = found.and_then(|found| match found.is_dir() {
        true => Ok(()),
        false => Err(std::io::Error::other("it is a link")),
    });
    checked.map_err(|source| Error::Directory { path: path.to_owned(), source })
}

fn listed(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn write_index(entry: &Path, manifest: &Descriptor, names: &[String]) -> Result<()> {
    let mut descriptor = manifest.clone();
    if let Some((first, more)) = names.split_first() {
        descriptor.annotations.insert(REF_NAME.to_owned(), first.clone());
        if !more.is_empty() {
            descriptor.annotations.insert(MORE_NAMES.to_owned(), more.join(" "));
        }
    }
    let index = Raw::from_value(ImageIndex::new(vec![descriptor]));
    Ok(store::write_output(&entry.join("index.json"), index.bytes())?)
}

/// Notes a further name that leads to an image of the cache. It is not younger for that.
pub(crate) fn add_name(
    cache: &BaseImageCache,
    image: &CachedImage,
    name: &Reference,
) -> Result<()> {
    let _turn = try_lock(&entry_lock(cache, image.digest()), StoreLock::exclusive)?;
    // What it says by now.
    let Some(image) = cache.stale(image.digest()).filter(CachedImage::is_layout) else {
        return Ok(());
    };
    if image.is_named(name) {
        return Ok(());
    }
    let mut names = image.names().to_vec();
    names.push(name.to_string());
    let entry = cache.entry(image.digest());
    write_index(&entry, &image.descriptor(), &names)?;
    let path = entry.join("index.json");
    let same_time = |file: File| file.set_modified(image.fetched());
    let set = std::fs::OpenOptions::new().write(true).open(&path).and_then(same_time);
    let failed = |source| store::Error::Io { action: "set the time of", path, source };
    Ok(set.map_err(failed)?)
}

/// Keeps an index, so that the next time its digest is enough to know which image it leads to.
pub(crate) fn remember_index(cache: &BaseImageCache, index: &Raw<ImageIndex>) -> Result<()> {
    let path = cache.index_path(index.digest());
    let limit = index.bytes().len() as u64;
    if store::read_file(&path, limit).is_ok_and(|found| found == index.bytes()) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    if std::fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
        // A link would be followed.
        store::remove_directory(&path)?;
    }
    Ok(store::write_output(&path, index.bytes())?)
}
