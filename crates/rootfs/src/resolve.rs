//! How a path is resolved inside a root: by the kernel, or component by component.
//!
//! Both ways keep one promise: whatever links the tree holds, and whatever somebody renames
//! meanwhile, what is opened was reached from the root's descriptor without passing above it.
//! The kernel's way is one system call; the walking way is for kernels and sandboxes without
//! `openat2`, and for the callers who need to know the path that links lead to.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::metadata::{FileKind, Metadata};

/// How paths are resolved inside a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`.
    Kernel,
    /// Component by component, with links expanded by us.
    Walking,
}

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;
/// How often the kernel is asked again when a rename somewhere disturbed it.
const MAX_TRIES: usize = 64;
/// Open parents a walk keeps for `..`; above that it walks down from the root again.
const KEPT_PARENTS: usize = 16;

impl Engine {
    /// The best one that works here, found by trying.
    pub(crate) fn probe(root: BorrowedFd<'_>) -> Engine {
        match kernel_open(root, b".", directory_flags()) {
            Ok(_) => Engine::Kernel,
            Err(_) => Engine::Walking,
        }
    }

    /// Opens (as a mere reference) the directory at `relative`, following every link in the root.
    pub(crate) fn open_dir(self, root: BorrowedFd<'_>, relative: &[u8]) -> Result<OwnedFd, Errno> {
        if self == Engine::Kernel {
            match kernel_open(root, relative, directory_flags()) {
                // Renames kept disturbing the kernel; walking has no such trouble.
                Err(Errno::AGAIN) => {}
                answer => return answer,
            }
        }
        let found = Steps::new(root).run(relative, Last::Follow, Missing::Fail)?;
        match (found.leaf, found.directory) {
            (Some(_), _) => Err(Errno::NOTDIR),
            (None, Some(directory)) => Ok(directory),
            (None, None) => reopen(root),
        }
    }
}

fn directory_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn reopen(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(root, ".", directory_flags() | OFlags::NOFOLLOW, Mode::empty())
}

fn kernel_open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if tries < MAX_TRIES => tries += 1,
            answer => return answer,
        }
    }
}

/// What to do with a link that is the last component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Follow,
    Keep,
}

/// What to do when a component does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Fail,
    Keep,
}

/// Where a walk came to.
pub(crate) struct Found {
    /// The deepest directory; `None` is the root itself.
    directory: Option<OwnedFd>,
    /// The last component, if it is no directory (or a link that was kept).
    leaf: Option<OwnedFd>,
    /// The names that lead there without any link.
    pub(crate) trail: Vec<Vec<u8>>,
    /// How many of them exist.
    pub(crate) existing: usize,
}

/// A walk in progress.
pub(crate) struct Steps<'r> {
    root: BorrowedFd<'r>,
    /// Where we are; `None` is the root.
    current: Option<OwnedFd>,
    /// How we came here: names of directories, no links.
    trail: Vec<Vec<u8>>,
    /// The directories right above, nearest last; not necessarily all of them.
    parents: VecDeque<Option<OwnedFd>>,
    /// What is still to be walked, next one last.
    pending: Vec<Vec<u8>>,
    links: usize,
}

impl<'r> Steps<'r> {
    pub(crate) fn new(root: BorrowedFd<'r>) -> Steps<'r> {
        Steps {
            root,
            current: None,
            trail: Vec::new(),
            parents: VecDeque::new(),
            pending: Vec::new(),
            links: 0,
        }
    }

    pub(crate) fn run(
        mut self,
        relative: &[u8],
        last: Last,
        missing: Missing,
    ) -> Result<Found, Errno> {
        self.push(relative);
        while let Some(name) = self.pending.pop() {
            if name == b"." {
                continue;
            }
            if name == b".." {
                self.climb();
                continue;
            }
            let fd = match open_name(self.here(), &name) {
                Ok(fd) => fd,
                Err(Errno::NOENT) if missing == Missing::Keep => {
                    return Ok(self.keep_missing(name));
                }
                Err(errno) => return Err(errno),
            };
            match Metadata::at(&fd, "")?.kind {
                FileKind::Directory => self.enter(name, fd),
                FileKind::Symlink if !(self.pending.is_empty() && last == Last::Keep) => {
                    self.expand(&fd)?;
                }
                _ if self.pending.is_empty() => {
                    self.trail.push(name);
                    return Ok(self.found(Some(fd)));
                }
                _ => return Err(Errno::NOTDIR),
            }
        }
        Ok(self.found(None))
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.current.as_ref().map_or(self.root, AsFd::as_fd)
    }

    fn found(self, leaf: Option<OwnedFd>) -> Found {
        let existing = self.trail.len();
        Found { directory: self.current, leaf, trail: self.trail, existing }
    }

    /// The rest does not exist: it is taken as it is written.
    fn keep_missing(mut self, name: Vec<u8>) -> Found {
        let mut existing = self.trail.len();
        self.pending.push(name);
        while let Some(name) = self.pending.pop() {
            match name.as_slice() {
                b"." => {}
                b".." => {
                    self.trail.pop();
                    existing = existing.min(self.trail.len());
                }
                _ => self.trail.push(name),
            }
        }
        Found { directory: None, leaf: None, trail: self.trail, existing }
    }

    fn push(&mut self, path: &[u8]) {
        // A slash at the end asks for a directory, as a last `.` does.
        if path.ends_with(b"/") {
            self.pending.push(b".".to_vec());
        }
        let names = path.split(|byte| *byte == b'/').rev().filter(|name| !name.is_empty());
        self.pending.extend(names.map(<[u8]>::to_vec));
    }

    fn enter(&mut self, name: Vec<u8>, directory: OwnedFd) {
        self.trail.push(name);
        let above = self.current.replace(directory);
        self.parents.push_back(above);
        if self.parents.len() > KEPT_PARENTS {
            self.parents.pop_front();
        }
    }

    /// `..`, which at the root leads nowhere. The kernel's own `..` is not asked: it would tell
    /// where the directory is by now, which need not be inside the root any more.
    fn climb(&mut self) {
        if self.trail.pop().is_none() {
            return;
        }
        if let Some(above) = self.parents.pop_back() {
            self.current = above;
        } else {
            let names = std::mem::take(&mut self.trail);
            self.current = None;
            self.pending.extend(names.into_iter().rev());
        }
    }

    fn expand(&mut self, link: &OwnedFd) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new())?.into_bytes();
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        if is_magic(link, &target) {
            return Err(Errno::LOOP);
        }
        if target.starts_with(b"/") {
            self.trail.clear();
            self.parents.clear();
            self.current = None;
        }
        self.push(&target);
        Ok(())
    }
}

/// Opens one name as a mere reference: nothing is read, no device wakes, no FIFO blocks.
fn open_name(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Whether a link of /proc jumps instead of naming a path. Its honest links (`self`, `mounts`)
/// are relative; the magic ones read as an absolute path or as `kind:[number]`.
fn is_magic(link: &OwnedFd, target: &[u8]) -> bool {
    let on_proc =
        rustix::fs::fstatfs(link).is_ok_and(|found| found.f_type == rustix::fs::PROC_SUPER_MAGIC);
    on_proc && (target.starts_with(b"/") || target.contains(&b':'))
}
