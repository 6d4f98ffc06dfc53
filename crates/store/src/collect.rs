//! Keeping a store small: blobs are a cache, and the least recently used go first.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::blob::BlobStore;
use crate::error::{Result, failed};

impl BlobStore {
    /// Removes the blobs that were opened least recently, until the store holds at most `most`
    /// bytes and at most half of the disk space it could have; returns how many bytes went.
    ///
    /// Only for whoever knows that nobody uses the store at the time: a blob that another build
    /// counts on would go like any other.
    pub fn collect(&self, most: u64) -> Result<u64> {
        let mut blobs = self.blobs()?;
        let mut held: u64 = blobs.iter().map(|blob| blob.size).sum();
        let most = most.min(self.free()?.saturating_add(held) / 2);
        blobs.sort_by_key(|blob| blob.used);
        let before = held;
        for blob in blobs {
            if held <= most {
                break;
            }
            fs::remove_file(&blob.path).map_err(failed("remove", &blob.path))?;
            held -= blob.size;
        }
        Ok(before - held)
    }

    /// Removes the blobs that have no other name and were not opened since; returns how many went. Where
    /// files were linked out of the store, these are the ones that nobody has any more.
    ///
    /// Only for whoever knows that nobody uses the store at the time.
    pub fn collect_unlinked(&self, since: SystemTime) -> Result<usize> {
        let mut removed = 0;
        for blob in self.blobs()?.into_iter().filter(|blob| blob.links < 2 && blob.used < since) {
            fs::remove_file(&blob.path).map_err(failed("remove", &blob.path))?;
            removed += 1;
        }
        Ok(removed)
    }

    fn blobs(&self) -> Result<Vec<Held>> {
        let mut blobs = Vec::new();
        for algorithm in ["sha256", "sha384", "sha512"] {
            let directory = self.root().join("blobs").join(algorithm);
            for entry in fs::read_dir(&directory).map_err(failed("list", &directory))? {
                let entry = entry.map_err(failed("list", &directory))?;
                let path = entry.path();
                let metadata = match entry.metadata() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    metadata => metadata.map_err(failed("inspect", &path))?,
                };
                if metadata.is_file() {
                    let used = metadata.modified().map_err(failed("inspect", &path))?;
                    let (size, links) = (metadata.len(), metadata.nlink());
                    blobs.push(Held { path, size, links, used });
                }
            }
        }
        Ok(blobs)
    }

    /// The bytes that are free on the disk of the store.
    fn free(&self) -> Result<u64> {
        let found = rustix::fs::statvfs(self.root());
        let found = found.map_err(|errno| failed("inspect", self.root())(errno.into()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// A blob that is there.
struct Held {
    path: PathBuf,
    size: u64,
    /// How many names the file has.
    links: u64,
    /// When it was last opened: the store keeps that as the file's mtime.
    used: SystemTime,
}
