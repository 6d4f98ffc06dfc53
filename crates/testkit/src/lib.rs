//! What the tests of the workspace share: trees in text, scratch roots, questions about the machine.
//!
//! For tests only, so that it may use `std::fs` and start programs. *Does not* depend on any crate
//! of ours, so that every crate can be tested with it. Read [`tree`] first.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests look at the tree from outside")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

pub mod base_image;
pub mod bulk;
pub mod cloud;
pub mod fault;
pub mod git_server;
pub mod hostile;
pub mod http_server;
pub mod internet;
pub mod layout;
pub mod race;
pub mod random;
pub mod registry;
pub mod relay;
pub mod tar_builder;
pub mod tree;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What the kernel says of a file system in memory.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// A temporary directory that is gone when this is dropped.
#[derive(Debug)]
pub struct ScratchRoot {
    path: PathBuf,
}

impl ScratchRoot {
    /// An empty directory (mode 0755, whatever the umask).
    #[must_use]
    pub fn new() -> ScratchRoot {
        ScratchRoot::within(&std::env::temp_dir())
    }

    /// The same in memory, where the machine has a place for that: for many small trees.
    #[must_use]
    pub fn in_memory() -> ScratchRoot {
        let memory = Path::new("/dev/shm");
        let is_memory = rustix::fs::statfs(memory).is_ok_and(|found| found.f_type == TMPFS);
        if is_memory { ScratchRoot::within(memory) } else { ScratchRoot::new() }
    }

    /// An empty directory below a directory of the caller's choice.
    #[must_use]
    pub fn within(parent: &Path) -> ScratchRoot {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("kaniko-test-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    let mode = std::fs::Permissions::from_mode(0o755);
                    std::fs::set_permissions(&path, mode).expect("because we just made it");
                    return ScratchRoot { path };
                }
                // Left behind by a run with the same process id.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make `{}`: {error}", path.display()),
            }
        }
    }

    /// With a tree in it, in tree notation.
    #[must_use]
    pub fn with(text: &str) -> ScratchRoot {
        let scratch = ScratchRoot::new();
        tree::make(&scratch.path, text);
        scratch
    }

    /// Where.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for ScratchRoot {
    fn default() -> ScratchRoot {
        ScratchRoot::new()
    }
}

impl Drop for ScratchRoot {
    fn drop(&mut self) {
        if std::fs::remove_dir_all(&self.path).is_err() {
            open_up(&self.path);
            // What still stays is in the system's temporary directory, and no reason to fail.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

/// Directories that a test closed are opened again, so that they can be removed.
fn open_up(path: &Path) {
    drop(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)));
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Whether the test runs as root. If not: fails where `CI` is set, else says what is skipped and
/// returns false (`if !require_root("device nodes") { return; }`).
#[must_use]
pub fn require_root(what: &str) -> bool {
    require(rustix::process::geteuid().is_root(), "root", what)
}

/// The same for user namespaces.
#[must_use]
pub fn require_userns(what: &str) -> bool {
    let mut tried = std::process::Command::new("unshare");
    tried.args(["--user", "--map-root-user", "true"]);
    let works = tried.output().is_ok_and(|output| output.status.success());
    require(works, "user namespaces", what)
}

/// The same for a program of another package, which the test compares with.
#[must_use]
pub fn require_program(program: &str) -> bool {
    let tried = std::process::Command::new(program).arg("--version").output();
    require(tried.is_ok(), program, "a comparison")
}

fn require(here: bool, needed: &str, what: &str) -> bool {
    if !here {
        let strict = std::env::var_os("CI").is_some();
        assert!(!strict, "{what}: needs {needed}, and nothing is skipped in CI");
        eprintln!("skipped: {what} needs {needed}");
    }
    here
}

/// Runs `test` on a thread with a mount namespace of its own: what it mounts, nobody else sees,
/// and it is gone with the thread. Needs root.
pub fn in_private_mounts<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    use rustix::mount::{MountPropagationFlags, mount_change};
    use rustix::thread::UnshareFlags;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Deprecated because unsharing descriptors is unsafe; only mounts are unshared here.
            #[allow(deprecated)]
            rustix::thread::unshare(UnshareFlags::NEWNS).expect("because the test asked for root");
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                .expect("because the mounts are ours now");
            test()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Mounts an empty tmpfs (inside [`in_private_mounts`]).
pub fn mount_tmpfs(at: &Path) {
    mount_tmpfs_with(at, "");
}

/// The same with options of the kernel's (`size=1m`, `nr_inodes=9`).
pub fn mount_tmpfs_with(at: &Path, options: &str) {
    use rustix::mount::{MountFlags, mount};
    let options = std::ffi::CString::new(options).expect("because options hold no NUL");
    mount("tmpfs", at, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
        .unwrap_or_else(|error| panic!("cannot mount on `{}`: {error}", at.display()));
}

/// Mounts a directory or file of the host somewhere else (inside [`in_private_mounts`]).
pub fn mount_bind(from: &Path, at: &Path) {
    rustix::mount::mount_bind(from, at)
        .unwrap_or_else(|error| panic!("cannot mount on `{}`: {error}", at.display()));
}

/// Mounts an overlay of the directories `lower` and `upper` on `merged`, which are made (but for
/// those that are there) below `at` (inside [`in_private_mounts`]). False where the kernel refuses,
/// as over another overlay.
#[must_use]
pub fn mount_overlay(at: &Path) -> bool {
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir_all(at.join(name)).expect("because there is room");
    }
    let at = |name: &str| at.join(name).display().to_string();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
    let options = std::ffi::CString::new(options).expect("because paths have no NUL");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("overlay", at("merged"), "overlay", flags, &*options).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_roots_are_apart_and_go() {
        let (one, two) = (ScratchRoot::new(), ScratchRoot::with("d 0000 /closed"));
        assert_ne!(one.path(), two.path());
        let path = two.path().to_owned();
        drop(two);
        assert!(one.path().is_dir() && !path.exists());
    }

    #[test]
    fn root_private_mounts_stay_private() {
        if !require_root("private mounts") {
            return;
        }
        let scratch = ScratchRoot::new();
        in_private_mounts(|| {
            mount_tmpfs(scratch.path());
            tree::make(scratch.path(), "f 0644 /hidden \"x\"");
        });
        assert_eq!(tree::print(scratch.path()), "");
    }
}
