//! [`BlobStore`]: bytes by their digest, visible only when they are whole and verified.
//!
//! A writer fills a file in `tmp/` that it holds locked; `commit` compares digest and size, syncs
//! the file, renames it into `blobs/` and syncs the directory. What a dead writer left is told by
//! its lock being free, and removed when the store is opened. Any number of programs may share a
//! store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci::{Algorithm, Digest};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::error::{Error, Result, failed};
use crate::layout::blob_path;
use crate::lock::StoreLock;

/// Blobs in a directory, laid out as in an OCI layout.
#[derive(Clone, Debug)]
pub struct BlobStore {
    root: Arc<Path>,
    /// Makes the names of this program's temporary files differ.
    serial: Arc<AtomicU64>,
}

impl BlobStore {
    /// Opens the store in `root`, which is made where missing, and removes what dead writers left.
    pub fn open(root: &Path) -> Result<Self> {
        for directory in ["blobs/sha256", "blobs/sha384", "blobs/sha512", "tmp"] {
            let path = root.join(directory);
            create_dir_all(&path)?;
        }
        let store = Self { root: Arc::from(root), serial: Arc::new(AtomicU64::new(0)) };
        store.sweep()?;
        Ok(store)
    }

    /// A writer of a blob whose digest may not be known yet.
    pub fn writer(&self) -> Result<BlobWriter> {
        // Shared with other writers: a sweep must not come between creating and locking.
        let _starting = StoreLock::shared(&self.lock_path())?;
        loop {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let path = self.root.join("tmp").join(format!("{}-{serial}", std::process::id()));
            let mut options = OpenOptions::new();
            options.write(true).read(true).create_new(true).mode(0o644);
            match options.open(&path) {
                Ok(file) => {
                    file.lock().map_err(failed("lock", &path))?;
                    let store = self.clone();
                    let hash = Sha256::new();
                    return Ok(BlobWriter { store, file, path: Some(path), hash, size: 0 });
                }
                // Another pid namespace may use the same numbers.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("create", &path)(error)),
            }
        }
    }

    /// Stores bytes that are at hand.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::sha256_of(bytes);
        if !self.contains(&digest) {
            let mut writer = self.writer()?;
            let path = writer.path().to_owned();
            writer.write_all(bytes).map_err(failed("write", &path))?;
            writer.commit(&digest, bytes.len() as u64)?;
        }
        Ok(digest)
    }

    /// Whether the blob is here.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// The size of the blob, if it is here.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("inspect", &path)(error)),
        }
    }

    /// Opens the blob. It was verified when it came in; [`BlobStore::verify`] does it again.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.path(digest);
        match open_read(&path) {
            Ok(file) => {
                note_use(&file);
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::Missing(digest.clone()))
            }
            Err(error) => Err(failed("open", &path)(error)),
        }
    }

    /// Reads the blob again and compares it with its digest; a damaged one is removed.
    pub fn verify(&self, digest: &Digest) -> Result<()> {
        let path = self.path(digest);
        let found = digest_of(self.open_blob(digest)?, digest.algorithm(), &path)?;
        if found == *digest {
            return Ok(());
        }
        self.remove(digest)?;
        Err(Error::Digest { expected: digest.clone(), found })
    }

    /// Removes the blob, if it is here.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Where the blob is, or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(blob_path(digest))
    }

    /// The directory of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn lock_path(&self) -> PathBuf {
        self.root.join("tmp.lock")
    }

    /// Removes the files of writers that are gone. Leaves it to another time when a writer is just
    /// starting.
    fn sweep(&self) -> Result<()> {
        let Ok(_alone) = StoreLock::exclusive(&self.lock_path()) else { return Ok(()) };
        let directory = self.root.join("tmp");
        for entry in fs::read_dir(&directory).map_err(failed("list", &directory))? {
            let path = entry.map_err(failed("list", &directory))?.path();
            let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
            if file.try_lock().is_ok() {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// A blob on its way into the store. Dropped without [`BlobWriter::commit`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: BlobStore,
    file: File,
    /// Gone once the file has its final name.
    path: Option<PathBuf>,
    hash: Sha256,
    size: u64,
}

impl BlobWriter {
    /// Makes the blob visible, if it is what was expected.
    pub fn commit(mut self, expected: &Digest, size: u64) -> Result<()> {
        let path = self.path().to_owned();
        if self.size != size {
            return Err(Error::Size { digest: expected.clone(), expected: size, found: self.size });
        }
        let found = match expected.algorithm() {
            Algorithm::Sha256 => Digest::from_sha256(self.hash.clone().finalize().into()),
            // Rare enough to read the file once more for it.
            other => {
                let file = open_read(&path).map_err(failed("open", &path))?;
                digest_of(file, other, &path)?
            }
        };
        if found != *expected {
            return Err(Error::Digest { expected: expected.clone(), found });
        }
        self.file.sync_all().map_err(failed("sync", &path))?;
        let target = self.store.path(expected);
        fs::rename(&path, &target).map_err(failed("rename to", &target))?;
        self.path = None;
        sync_parent(&target)
    }

    /// Makes the blob visible as what it turned out to be, and says its digest and size.
    pub fn keep(self) -> Result<(Digest, u64)> {
        let digest = Digest::from_sha256(self.hash.clone().finalize().into());
        let size = self.size;
        self.commit(&digest, size)?;
        Ok((digest, size))
    }

    /// The number of bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file it is written to, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(&self.store.root)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // If it stays, the next program to open the store removes it.
            let _ = fs::remove_file(path);
        }
    }
}

/// Notes for [`BlobStore::collect`] that a blob was used. Where that cannot be written, it only
/// goes earlier.
pub(crate) fn note_use(file: &File) {
    let kept = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: kept, last_modification: now };
    let _ = rustix::fs::futimens(file, &times);
}

/// The digest of what `file` holds from where it stands.
pub(crate) fn digest_of(file: File, algorithm: Algorithm, path: &Path) -> Result<Digest> {
    let hex = match algorithm {
        Algorithm::Sha256 => hash::<Sha256>(file),
        Algorithm::Sha384 => hash::<Sha384>(file),
        Algorithm::Sha512 => hash::<Sha512>(file),
    };
    let hex = hex.map_err(failed("read", path))?;
    let digest = Digest::parse(&format!("{}:{hex}", algorithm.as_str()));
    Ok(digest.expect("because the digits come from the hash"))
}

fn hash<H: sha2::Digest>(mut file: File) -> io::Result<String> {
    let mut buffer = vec![0; 256 << 10];
    let mut hash = H::new();
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => hash.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[allow(clippy::disallowed_methods, reason = "the store is where files are opened")]
pub(crate) fn open_read(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[allow(clippy::disallowed_methods, reason = "the store is where directories are made")]
pub(crate) fn create_dir_all(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(failed("create", path))
}

/// Makes a rename last: the name is in the directory, and the directory must reach the disk.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = open_read(parent).map_err(failed("open", parent))?;
    match directory.sync_all() {
        // Some file systems cannot sync a directory; then there is nothing more to be had.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other.map_err(failed("sync", parent)),
    }
}
