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

#[cfg(test)]
mod tests {
    use testkit::{ScratchRoot, tree};

    use super::Workspace;

    /// What is left of the builds' directories.
    fn builds(state: &ScratchRoot) -> String {
        tree::print(&state.path().join("builds"))
    }

    fn create(state: &ScratchRoot, id: &str) -> Workspace {
        Workspace::create(state.path(), id).expect("because the directory is ours")
    }

    #[test]
    fn a_build_removes_its_directory_and_nothing_else() {
        let state = ScratchRoot::new();
        let (one, two) = (create(&state, "one"), create(&state, "two"));
        one.side_root("files").expect("because it is new");
        let outside = state.path().join("outside");
        tree::make(&outside, "f 0644 /kept \"x\"");
        tree::make(one.path(), "f 0400 /deep/down/file \"x\"\nl 0777 /out -> ../../outside");
        drop(one);
        assert!(!state.path().join("builds/one").exists(), "{}", builds(&state));
        assert!(two.path().is_dir() && outside.join("kept").is_file());
        let store = two.store().clone();
        drop(two);
        assert_eq!(builds(&state), "");
        assert!(state.path().join("store").is_dir(), "the blobs stay for the next build");
        drop(store);
    }

    #[test]
    fn a_build_removes_its_directory_when_it_panics() {
        let state = ScratchRoot::new();
        let build = std::panic::catch_unwind(|| {
            let build = create(&state, "one");
            tree::make(build.path(), "f 0644 /file \"x\"");
            std::panic::resume_unwind(Box::new("the build panics"));
        });
        assert!(build.is_err());
        assert_eq!(builds(&state), "");
    }

    #[test]
    fn a_side_root_comes_and_goes_alone() {
        let state = ScratchRoot::new();
        let build = create(&state, "one");
        for name in ["first", "second"] {
            build.side_root(name).expect("because it is new");
            tree::make(&build.path().join(name), "f 0644 /file \"x\"");
        }
        build.remove_side_root("first").expect("because it is there");
        assert!(!build.path().join("first").exists());
        assert!(build.path().join("second/file").is_file());
    }
}
