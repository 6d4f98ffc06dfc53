//! The directories of `RUN --mount=type=cache`: `<state>/caches/<sha256 of the id>`, as kaniko has
//! them, so that a volume there keeps them for the next pod.
//!
//! A lock file beside each says who uses it: many steps at a time (`shared`), one at a time
//! (`locked`), or each its own (`private`). A cache appears by a rename when it is filled.

use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::Digest;
use plan::CacheSharing;
use rootfs::{Protected, RootDir, RootPath};
use store::StoreLock;
use sys::StopHandle;

use crate::error::StepError;

/// How soon a step that waits for a cache looks again.
const POLL: Duration = Duration::from_millis(50);

/// So many steps at a time can have a private cache of one id.
const PRIVATE: usize = 1000;

/// All caches of a state directory.
#[derive(Debug)]
pub(crate) struct Caches {
    path: PathBuf,
    build: String,
}

/// A cache in use; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The directory.
    pub path: PathBuf,
    _lock: StoreLock,
}

/// Where a new cache is to be made.
pub(crate) struct NewCache<'a> {
    pub dir: &'a RootDir,
    pub name: &'a RootPath,
}

impl Caches {
    /// The caches below a state directory; `build` is the name of this build.
    pub(crate) fn new(state_dir: &Path, build: &str) -> Self {
        Self { path: state_dir.join("caches"), build: build.to_owned() }
    }

    /// Takes the cache of an id, waiting where it must not be used by two steps. `fill` makes the
    /// directory if there is none.
    pub(crate) fn lease(
        &self,
        id: &str,
        sharing: CacheSharing,
        alone: bool,
        stop: &StopHandle,
        fill: &dyn Fn(&NewCache<'_>) -> Result<(), StepError>,
    ) -> Result<Lease, StepError> {
        let dir = self.open()?;
        let digest = Digest::sha256_of(id.as_bytes());
        let name = digest.hex().to_owned();
        let sharing = match (sharing, alone) {
            (CacheSharing::Shared, true) => CacheSharing::Locked,
            (sharing, _) => sharing,
        };
        let (name, lock) = match sharing {
            CacheSharing::Private => self.free(&name)?,
            CacheSharing::Locked => (name.clone(), self.wait(&name, false, stop)?),
            CacheSharing::Shared => {
                // Filled by one, then used by all.
                if !dir.exists(&RootPath::new(&name)?)? {
                    let _filling = self.wait(&name, false, stop)?;
                    self.make(&dir, &name, fill)?;
                }
                (name.clone(), self.wait(&name, true, stop)?)
            }
        };
        self.make(&dir, &name, fill)?;
        Ok(Lease { path: self.path.join(&name), _lock: lock })
    }

    fn open(&self) -> Result<RootDir, StepError> {
        let state = self.path.parent().unwrap_or(Path::new("/"));
        let state = RootDir::open(state)?;
        state.create_dir_all(&RootPath::new("caches")?, 0o755)?;
        Ok(RootDir::open(&self.path)?)
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.lock"))
    }

    fn wait(&self, name: &str, shared: bool, stop: &StopHandle) -> Result<StoreLock, StepError> {
        let path = self.lock_path(name);
        loop {
            let taken = match shared {
                true => StoreLock::try_shared(&path),
                false => StoreLock::exclusive(&path),
            };
            match taken {
                Err(store::Error::Locked(_)) if stop.wait(POLL) => return Err(StepError::Stopped),
                Err(store::Error::Locked(_)) => {}
                taken => return Ok(taken?),
            }
        }
    }

    /// The first cache of an id that nobody uses.
    fn free(&self, name: &str) -> Result<(String, StoreLock), StepError> {
        for number in 0..PRIVATE {
            let name = if number == 0 { name.to_owned() } else { format!("{name}-{number}") };
            match StoreLock::exclusive(&self.lock_path(&name)) {
                Err(store::Error::Locked(_)) => {}
                lock => return Ok((name, lock?)),
            }
        }
        Err(StepError::Store(store::Error::Locked(self.lock_path(name))))
    }

    /// Makes the directory, unless it is there.
    fn make(
        &self,
        dir: &RootDir,
        name: &str,
        fill: &dyn Fn(&NewCache<'_>) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let place = RootPath::new(name)?;
        match dir.metadata_opt(&place)? {
            Some(found) if found.is_dir() => return Ok(()),
            Some(_) => dir.remove(&place)?,
            None => {}
        }
        let fresh = RootPath::new(format!("{name}.new-{}", self.build))?;
        dir.remove_tree(&fresh, &Protected::none())?;
        let filled = fill(&NewCache { dir, name: &fresh });
        let made = filled.and_then(|()| Ok(dir.rename(&fresh, &place)?));
        if made.is_err() {
            // The error that stopped the filling is the one to tell.
            let _ = dir.remove_tree(&fresh, &Protected::none());
        }
        made
    }
}

#[cfg(test)]
mod tests;
