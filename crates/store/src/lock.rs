//! [`StoreLock`]: one builder at a time in a place that cannot be shared.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::{Error, Result, failed};

/// A lock on a file, held until it is dropped or the program ends, however it ends.
#[derive(Debug)]
pub struct StoreLock {
    /// Open for as long as the lock is held.
    file: File,
    path: PathBuf,
}

impl StoreLock {
    /// Takes the lock for this program alone, or fails at once with [`Error::Locked`].
    pub fn exclusive(path: &Path) -> Result<Self> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path: path.to_owned() }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed("lock", path)(source)),
        }
    }

    /// Takes the lock together with others that share it; waits for one that does not.
    pub fn shared(path: &Path) -> Result<Self> {
        let file = open(path)?;
        file.lock_shared().map_err(failed("lock", path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// The same, but fails at once with [`Error::Locked`] where somebody has it alone.
    pub fn try_shared(path: &Path) -> Result<Self> {
        let file = open(path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Self { file, path: path.to_owned() }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed("lock", path)(source)),
        }
    }

    /// Shows whoever waits that the owner is alive: the file's time changes. Best effort.
    pub fn touch(&self) {
        crate::blob::note_use(&self.file);
    }

    /// The file that is locked.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // On a shared volume somebody may have put a link in its place.
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).expect("because open flags are small");
    options.custom_flags(flags);
    options.open(path).map_err(failed("open the lock file", path))
}

#[cfg(test)]
mod tests {
    use testkit::ScratchRoot;

    use super::*;

    #[test]
    fn an_exclusive_lock_stands_alone() {
        let scratch = ScratchRoot::new();
        let path = scratch.path().join("lock");
        let held = StoreLock::exclusive(&path).expect("nobody else is here");
        let second = StoreLock::exclusive(&path).expect_err("it is held");
        assert!(matches!(second, Error::Locked(_)), "{second}");
        assert!(matches!(StoreLock::try_shared(&path), Err(Error::Locked(_))));
        drop(held);
        let _shared = StoreLock::shared(&path).expect("it is free again");
        let _also = StoreLock::shared(&path).expect("shared with the first");
        assert!(StoreLock::exclusive(&path).is_err());
        assert!(StoreLock::try_shared(&path).is_ok());
    }
}
