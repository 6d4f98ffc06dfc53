//! The builder's directory of one build: made at its start, gone on every way out.
//!
//! Roots of stages are made below it by `run`; this module owns the directory itself and the blob
//! store that builds share.

use std::path::{Path, PathBuf};

use rootfs::{Protected, RootDir, RootPath};
use store::BlobStore;

use crate::Error;

/// The directories of one build.
#[derive(Debug)]
pub(crate) struct Workspace {
    state: RootDir,
    inside: RootPath,
    path: PathBuf,
    store: BlobStore,
}

impl Workspace {
    /// Makes `<state>/builds/<id>` and opens the store beside it.
    pub(crate) fn create(state_dir: &Path, id: &str) -> Result<Workspace, Error> {
        let failed = |source| Error::State { path: state_dir.to_owned(), source };
        let state = RootDir::open(state_dir).map_err(failed)?;
        let inside = RootPath::new("builds").and_then(|p| p.join(id)).map_err(failed)?;
        state.create_dir_all(&inside, 0o700).map_err(failed)?;
        let store = BlobStore::open(&state_dir.join("store")).map_err(Error::Store)?;
        let path = state_dir.join("builds").join(id);
        Ok(Workspace { state, inside, path, store })
    }

    /// The directory, on the host.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The blobs of all builds.
    pub(crate) fn store(&self) -> &BlobStore {
        &self.store
    }

    /// A new, empty root below the directory that is not a stage's: the tree of an image that
    /// `COPY --from` names, or what `COPY --link` lays out.
    pub(crate) fn side_root(&self, name: &str) -> Result<RootDir, Error> {
        let failed = |source| Error::State { path: self.path.clone(), source };
        let path = self.inside.join(name).map_err(failed)?;
        self.state.create_dir_all(&path, 0o755).map_err(failed)?;
        self.state.subdir(&path).map_err(failed)
    }

    /// Removes a root made by [`side_root`](Self::side_root).
    pub(crate) fn remove_side_root(&self, name: &str) -> Result<(), Error> {
        let failed = |source| Error::State { path: self.path.clone(), source };
        let path = self.inside.join(name).map_err(failed)?;
        self.state.remove_tree(&path, &Protected::none()).map_err(failed)?;
        Ok(())
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = self.state.remove_tree(&self.inside, &Protected::none()) {
            tracing::warn!("cannot remove `{}`: {error}", self.path.display());
        }
    }
}
