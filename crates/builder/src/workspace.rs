//! The builder's directory of one build: made at its start, gone on every way out.
//!
//! Roots of stages are made below it by `run`; this module owns the directory itself and the blob
//! store that builds share. A build that is killed leaves its directory; the next one to start
//! removes it. Who lives is told by a lock in each directory, which ends with its program.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rootfs::{AttributeTable, Protected, RootDir, RootPath};
use store::{BlobStore, StoreLock};

use crate::Error;

/// The directories of one build.
#[derive(Debug)]
pub(crate) struct Workspace {
    state: RootDir,
    inside: RootPath,
    path: PathBuf,
    store: BlobStore,
    /// Where attributes of what is in side roots stand, if the disk cannot be told them.
    table: Option<Arc<AttributeTable>>,
    /// The file [`STARTING`].
    starting: PathBuf,
    /// Says that this build lives.
    _alive: StoreLock,
}

/// The lock in the directory of a build.
const LOCK: &str = "lock";

/// The lock that builds share while they start or end: no sweep comes between.
const STARTING: &str = "builds.lock";

/// What the store may hold when a build starts. A pod's state directory mostly goes with the pod;
/// on a host it would grow with every base image.
const STORE_BYTES: u64 = 20 << 30;

impl Workspace {
    /// Makes `<state>/builds/<id>` and opens the store beside it.
    pub(crate) fn create(state_dir: &Path, id: &str) -> Result<Workspace, Error> {
        let failed = |source| Error::State { path: state_dir.to_owned(), source };
        let state = RootDir::open(state_dir).map_err(failed)?;
        let builds = RootPath::new("builds").map_err(failed)?;
        let inside = builds.join(id).map_err(failed)?;
        let path = state_dir.join("builds").join(id);
        state.create_dir_all(&builds, 0o700).map_err(failed)?;
        let store = BlobStore::open(&state_dir.join("store")).map_err(Error::Store)?;
        sweep(&state, &builds, state_dir, &store).map_err(failed)?;
        let starting = state_dir.join(STARTING);
        let alive = {
            let _starting = StoreLock::shared(&starting).map_err(Error::Store)?;
            state.create_dir_all(&inside, 0o700).map_err(failed)?;
            StoreLock::exclusive(&path.join(LOCK)).map_err(Error::Store)?
        };
        Ok(Workspace { state, inside, path, store, table: None, starting, _alive: alive })
    }

    /// The same, with a table for what its side roots cannot hold.
    pub(crate) fn with_table(mut self, table: Option<&Arc<AttributeTable>>) -> Workspace {
        self.table = table.cloned();
        self
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
        let root = self.state.subdir(&path).map_err(failed)?;
        match &self.table {
            Some(table) => root.with_table(table).map_err(failed),
            None => Ok(root),
        }
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
        let _ending = StoreLock::shared(&self.starting);
        if let Err(error) = self.state.remove_tree(&self.inside, &Protected::none()) {
            tracing::warn!("cannot remove `{}`: {error}", self.path.display());
        }
    }
}

/// Removes all blobs, unless another build lives: `--cleanup`.
pub(crate) fn forget_blobs(state_dir: &Path) -> Result<(), Error> {
    let failed = |source| Error::State { path: state_dir.to_owned(), source };
    let Ok(_alone) = StoreLock::exclusive(&state_dir.join(STARTING)) else { return Ok(()) };
    let state = RootDir::open(state_dir).map_err(failed)?;
    for entry in state.read_dir(&RootPath::new("builds").map_err(failed)?).map_err(failed)? {
        let lock = state_dir.join("builds").join(OsStr::from_bytes(&entry.name)).join(LOCK);
        if StoreLock::exclusive(&lock).is_err() {
            return Ok(());
        }
    }
    let store = BlobStore::open(&state_dir.join("store")).map_err(Error::Store)?;
    store.collect(0).map(drop).map_err(Error::Store)
}

/// Removes what builds that were killed left, and blobs above what the store may hold. Left to
/// another time while a build starts; what cannot be removed is left to the user, and no reason to
/// fail.
fn sweep(
    state: &RootDir,
    builds: &RootPath,
    state_dir: &Path,
    store: &BlobStore,
) -> rootfs::Result<()> {
    let (mut dead, mut living) = (Vec::new(), 0);
    if let Ok(_alone) = StoreLock::exclusive(&state_dir.join(STARTING)) {
        for entry in state.read_dir(builds)? {
            let path = builds.join(&entry.name)?;
            let lock = state_dir.join(OsStr::from_bytes(path.relative())).join(LOCK);
            // A directory whose lock cannot be had is that of a living build.
            match StoreLock::exclusive(&lock) {
                Ok(lock) => dead.push((path, lock)),
                Err(_) => living += 1,
            }
        }
        // No build uses the store, and none can start meanwhile.
        if living == 0
            && let Err(error) = store.collect(STORE_BYTES)
        {
            tracing::warn!("cannot remove old blobs: {error}");
        }
    }
    // The locks are still held: nobody else will remove the same directories meanwhile.
    for (path, _lock) in dead {
        let shown = state_dir.join(OsStr::from_bytes(path.relative()));
        if state.exists(&path.join(BEFORE)?)? {
            tracing::warn!(
                "`{}` holds what was in the container before a build that was killed; it stays",
                shown.display()
            );
            continue;
        }
        tracing::info!("removing `{}`, left by a build that was killed", shown.display());
        match state.remove_tree(&path, &Protected::none()) {
            Ok(removal) if removal.is_complete() => {}
            Ok(removal) => {
                let stayed = removal.stayed.first().map(ToString::to_string).unwrap_or_default();
                tracing::warn!("`{stayed}` of a build that was killed is in use and stays");
            }
            Err(error) => tracing::warn!("cannot remove `{}`: {error}", shown.display()),
        }
    }
    Ok(())
}

/// Where a build in place keeps what the container held (see `run`): nobody may delete that.
const BEFORE: &str = "stages/before";

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use testkit::{ScratchRoot, in_private_mounts, mount_tmpfs, require_root, tree};

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

    /// Not a test of its own: what [`killed`] starts in another program.
    #[test]
    fn a_build_that_waits_to_be_killed() {
        #[allow(clippy::disallowed_methods, reason = "the test that starts this one says so")]
        let Some(state) = std::env::var_os("KANIKO_TEST_STATE") else { return };
        let path = std::path::PathBuf::from(state);
        let build = Workspace::create(&path, "killed").expect("because the directory is ours");
        tree::make(build.path(), "f 0400 /stages/0/rootfs/f \"x\"\nd 0500 /stages/0/rootfs/d");
        println!("\nready");
        let mut line = String::new();
        drop(std::io::stdin().read_line(&mut line));
    }

    /// A build in another program, which is killed while `meanwhile` happens or after it.
    #[allow(clippy::disallowed_methods, reason = "a test needs a program that it can kill")]
    fn killed(state: &ScratchRoot, meanwhile: impl FnOnce()) {
        let own = std::env::current_exe().expect("because it is running");
        let mut child = Command::new(own)
            .args(["--exact", "--nocapture", "workspace::tests::a_build_that_waits_to_be_killed"])
            .env("KANIKO_TEST_STATE", state.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("because it is running already");
        let output = BufReader::new(child.stdout.take().expect("because it is piped"));
        let ready = output.lines().map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the other program failed");
        meanwhile();
        child.kill().expect("because it is ours");
        child.wait().expect("because it was killed");
    }

    #[test]
    fn what_a_killed_build_left_goes_when_the_next_one_starts() {
        let state = ScratchRoot::new();
        killed(&state, || {
            drop(create(&state, "beside"));
            assert!(state.path().join("builds/killed/stages/0/rootfs/f").is_file(), "it lives");
        });
        assert!(state.path().join("builds/killed").is_dir(), "{}", builds(&state));
        let next = create(&state, "next");
        assert!(!state.path().join("builds/killed").exists(), "{}", builds(&state));
        assert!(next.path().is_dir());
        drop(next);
        assert_eq!(builds(&state), "");
    }

    #[test]
    fn what_a_container_held_before_a_killed_build_stays() {
        let state = ScratchRoot::with(
            "f 0644 /builds/old/stages/before/etc/passwd \"x\"\nf 0644 /builds/older/f \"x\"",
        );
        drop(create(&state, "next"));
        assert!(state.path().join("builds/old/stages/before/etc/passwd").is_file());
        assert!(!state.path().join("builds/older").exists());
    }

    #[test]
    fn root_mounts_of_a_killed_build_are_not_entered() {
        if !require_root("mounts") {
            return;
        }
        let state =
            ScratchRoot::with("d 0755 /builds/old/stages/0/rootfs/mnt\nf 0644 /builds/old/f \"x\"");
        in_private_mounts(|| {
            let point = state.path().join("builds/old/stages/0/rootfs/mnt");
            mount_tmpfs(&point);
            tree::make(&point, "f 0644 /kept \"x\"");
            drop(create(&state, "next"));
            assert!(point.join("kept").is_file());
            assert!(!state.path().join("builds/old/f").exists());
        });
        drop(create(&state, "last"));
        assert_eq!(builds(&state), "");
    }

    #[test]
    fn builds_that_start_together_do_not_remove_each_other() {
        let state = ScratchRoot::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let state = &state;
                scope.spawn(move || {
                    for round in 0..20 {
                        let build = create(state, &format!("{thread}-{round}"));
                        build.side_root("files").expect("because nobody removed it");
                        assert!(build.path().join("files").is_dir());
                    }
                });
            }
        });
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
