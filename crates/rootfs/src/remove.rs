//! Removing trees: without recursion, with few descriptors, and never into a mount.
//!
//! A step can leave a tree that is deeper than any path may be, so nothing here is done by path:
//! levels are open directories, and of these only the nearest stay open. A level whose descriptor
//! was closed is reached again from the top, name by name and without following anything.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, IFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::dir::RootDir;
use crate::entry::{Entry, Listed, list, open_at};
use crate::error::Error;
use crate::metadata::Metadata;
use crate::path::RootPath;
use crate::protected::Protected;

/// Directories that are open at the same time.
const MAX_OPEN: usize = 48;
/// Names of one directory that are in memory at the same time.
const MAX_NAMES: usize = 4096;

/// What came of removing a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// What is still there: protected paths and mount points. The directories above them are
    /// there too, but not listed. Ordered by path.
    pub stayed: Vec<RootPath>,
}

impl Removal {
    /// Whether all is gone.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stayed.is_empty()
    }
}

impl RootDir {
    /// Removes what is at `path`, with all below it; nothing there is fine. Protected paths and
    /// mount points stay, with the directories above them, and are told.
    pub fn remove_tree(&self, path: &RootPath, protected: &Protected) -> Result<Removal, Error> {
        let nothing = |error: &Error| error.is_not_found() || error.is_not_a_directory();
        let path = &match self.place_of(path, protected) {
            Err(error) if nothing(&error) => return Ok(Removal::default()),
            path => path?,
        };
        let failed = |errno| Error::io("remove", path, errno);
        let entry = match self.named_entry("remove", path) {
            Err(error) if nothing(&error) => return Ok(Removal::default()),
            entry => entry?,
        };
        let stays = || Ok(Removal { stayed: vec![path.clone()] });
        if protected.covers(path) {
            return stays();
        }
        let mount = self.metadata(&RootPath::root())?;
        match entry.on_disk() {
            Ok(found) if found.is_on_mount_of(&mount) => {}
            Ok(_) => return stays(),
            Err(Errno::NOENT) => return Ok(Removal::default()),
            Err(errno) => return Err(failed(errno)),
        }
        match unlink(entry.dir.as_fd(), entry.name).map_err(failed)? {
            Unlinked::Gone => return Ok(Removal::default()),
            Unlinked::Busy => return stays(),
            Unlinked::Directory => {}
        }
        let removal = self.sweep(path, &entry, mount, protected)?;
        if removal.is_complete() {
            match rustix::fs::unlinkat(&entry.dir, entry.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                // Something was mounted on it meanwhile.
                Err(Errno::BUSY) => return stays(),
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(removal)
    }

    /// Removes all that is in the directory `path`, but not the directory itself; works on the
    /// root. A directory that is missing is an error.
    pub fn remove_contents(
        &self,
        path: &RootPath,
        protected: &Protected,
    ) -> Result<Removal, Error> {
        let path = &self.place_of(path, protected)?;
        let mount = self.metadata(&RootPath::root())?;
        let is_ours = self.metadata(path)?.is_on_mount_of(&mount);
        if protected.covers(path) || !is_ours {
            return Ok(Removal { stayed: vec![path.clone()] });
        }
        self.sweep(path, &self.entry("remove", path)?, mount, protected)
    }

    /// The path without links on the way: a link must not be a way around what is protected.
    fn place_of(&self, path: &RootPath, protected: &Protected) -> Result<RootPath, Error> {
        if protected.is_empty() { Ok(path.clone()) } else { self.resolve_parent(path) }
    }

    fn sweep(
        &self,
        path: &RootPath,
        entry: &Entry<'_>,
        mount: Metadata,
        protected: &Protected,
    ) -> Result<Removal, Error> {
        let failed = |errno| Error::io("remove", path, errno);
        let top = open_for_removal(entry.dir.as_fd(), entry.name).map_err(failed)?;
        // Only the answer about what is open is sure: a mount can have come since it was asked.
        if !Metadata::at(&top, "").map_err(failed)?.is_on_mount_of(&mount) {
            return Ok(Removal { stayed: vec![path.clone()] });
        }
        let (levels, removal) = (Vec::new(), Removal::default());
        let mut sweep = Sweep { protected, mount, start: path.clone(), levels, top, removal };
        sweep.run()?;
        sweep.removal.stayed.sort();
        Ok(sweep.removal)
    }
}

enum Unlinked {
    Gone,
    Busy,
    Directory,
}

fn unlink(dir: impl AsFd, name: &[u8]) -> Result<Unlinked, Errno> {
    let answer = match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Err(Errno::PERM) => {
            make_removable(&dir, name);
            rustix::fs::unlinkat(&dir, name, AtFlags::empty())
        }
        answer => answer,
    };
    match answer {
        Ok(()) | Err(Errno::NOENT) => Ok(Unlinked::Gone),
        // A file that something is mounted on.
        Err(Errno::BUSY) => Ok(Unlinked::Busy),
        Err(Errno::ISDIR) => Ok(Unlinked::Directory),
        Err(errno) => Err(errno),
    }
}

/// Takes the flags away that forbid removing a file or what is in a directory (`chattr +i`). If
/// that fails, the removal says why it does.
fn make_removable(dir: impl AsFd, name: &[u8]) {
    let forbidding = IFlags::IMMUTABLE | IFlags::APPEND;
    // Nothing else has flags, and opening it can do something.
    let has_flags = Metadata::at(&dir, name).is_ok_and(|found| found.is_dir() || found.is_file());
    let opened = has_flags.then(|| open_at(dir.as_fd(), name, OFlags::RDONLY));
    if let Some(Ok(fd)) = opened
        && let Ok(flags) = rustix::fs::ioctl_getflags(&fd)
        && flags.intersects(forbidding)
    {
        let _ = rustix::fs::ioctl_setflags(&fd, flags - forbidding);
    }
}

/// Opens a directory for listing; one that we own but may not read is made readable first, since
/// it goes anyway.
#[allow(clippy::disallowed_methods, reason = "by way of a descriptor of ours in /proc")]
fn open_for_removal(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match open_at(dir.as_fd(), name, flags) {
        Err(Errno::ACCESS) => {
            let reference = open_at(dir.as_fd(), name, OFlags::PATH | OFlags::DIRECTORY)?;
            let path = crate::entry::path_of(&reference).ok_or(Errno::ACCESS)?;
            rustix::fs::chmod(path, Mode::RWXU)?;
            open_at(dir.as_fd(), name, flags)
        }
        answer => answer,
    }
}

/// One directory on the way down.
struct Level {
    name: Vec<u8>,
    /// `None` where it would be longer than a path may be: nothing there can be protected.
    path: Option<RootPath>,
    /// Whether something below is protected by path.
    guarded: bool,
    /// Closed while many levels below it are open.
    fd: Option<OwnedFd>,
    /// Names still to be removed, of those read.
    names: Vec<Vec<u8>>,
    /// Names that stay.
    staying: Vec<Vec<u8>>,
    /// Whether there may be more names than were read.
    more: bool,
}

impl Level {
    fn new(name: Vec<u8>, path: Option<RootPath>, fd: OwnedFd, protected: &Protected) -> Level {
        let guarded = path.as_ref().is_some_and(|path| protected.holds_below(path));
        let (names, staying) = (Vec::new(), Vec::new());
        Level { name, path, guarded, fd: Some(fd), names, staying, more: true }
    }

    fn child(&self, name: &[u8]) -> Option<RootPath> {
        self.path.as_ref().and_then(|path| path.child(name).ok())
    }
}

struct Sweep<'p> {
    protected: &'p Protected,
    start: RootPath,
    top: OwnedFd,
    /// About the root: what is not on its mount is not ours to remove.
    mount: Metadata,
    levels: Vec<Level>,
    removal: Removal,
}

impl Sweep<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let fd = self.top.try_clone().map_err(|source| Error::Io {
            action: "remove",
            path: self.start.clone(),
            source,
        })?;
        let start = Some(self.start.clone());
        self.levels.push(Level::new(Vec::new(), start, fd, self.protected));
        while !self.levels.is_empty() {
            self.step().map_err(|errno| Error::io("remove below", &self.start, errno))?;
        }
        Ok(())
    }

    /// Removes one name of the deepest level, or leaves that level.
    fn step(&mut self) -> Result<(), Errno> {
        self.reopen()?;
        let level = self.levels.last_mut().ok_or(Errno::INVAL)?;
        if level.names.is_empty() && level.more {
            level.read_names()?;
        }
        let Some(name) = level.names.pop() else { return self.leave() };
        let covered = |path: &RootPath| self.protected.covers(path);
        if level.guarded && level.child(&name).as_ref().is_some_and(covered) {
            self.stays(name);
            return Ok(());
        }
        let fd = level.fd.as_ref().ok_or(Errno::INVAL)?;
        match unlink(fd, &name)? {
            Unlinked::Gone => Ok(()),
            Unlinked::Busy => {
                self.stays(name);
                Ok(())
            }
            Unlinked::Directory => self.enter(name),
        }
    }

    fn enter(&mut self, name: Vec<u8>) -> Result<(), Errno> {
        let level = self.levels.last().ok_or(Errno::INVAL)?;
        let fd = level.fd.as_ref().ok_or(Errno::INVAL)?;
        // Asked before it is opened: opening can set off an automount.
        let found = match Metadata::at(fd, name.as_slice()) {
            Err(Errno::NOENT) => return Ok(()),
            found => found?,
        };
        if !found.is_on_mount_of(&self.mount) {
            self.stays(name);
            return Ok(());
        }
        // Most directories are empty by the time we come to them, or few.
        match rustix::fs::unlinkat(fd, name.as_slice(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {
                self.stays(name);
                return Ok(());
            }
            Err(_) => {}
        }
        let below = open_for_removal(fd, &name)?;
        if !Metadata::at(&below, "")?.is_on_mount_of(&self.mount) {
            self.stays(name);
            return Ok(());
        }
        let path = level.child(&name);
        self.levels.push(Level::new(name, path, below, self.protected));
        if self.levels.len() > MAX_OPEN {
            let closing = self.levels.len() - MAX_OPEN - 1;
            self.levels[closing].fd = None;
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Errno> {
        let Some(left) = self.levels.pop() else { return Ok(()) };
        if self.levels.is_empty() {
            return Ok(());
        }
        if !left.staying.is_empty() {
            let level = self.levels.last_mut().ok_or(Errno::INVAL)?;
            level.staying.push(left.name);
            return Ok(());
        }
        self.reopen()?;
        let level = self.levels.last().ok_or(Errno::INVAL)?;
        let fd = level.fd.as_ref().ok_or(Errno::INVAL)?;
        match rustix::fs::unlinkat(fd, left.name.as_slice(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // Something was mounted on it meanwhile.
            Err(Errno::BUSY) => {
                self.stays(left.name);
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    /// Makes sure that the deepest level is open; if it was closed, so that some above it are too.
    fn reopen(&mut self) -> Result<(), Errno> {
        if self.levels.last().is_none_or(|level| level.fd.is_some()) {
            return Ok(());
        }
        let first_kept = self.levels.len().saturating_sub(MAX_OPEN);
        let mut fd = open_at(self.top.as_fd(), b".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        for index in 1..self.levels.len() {
            let name = &self.levels[index].name;
            // A mere reference will do for those that are only passed, and is much cheaper.
            let flags = if index < first_kept { OFlags::PATH } else { OFlags::RDONLY };
            let below = open_at(fd.as_fd(), name, flags | OFlags::DIRECTORY)?;
            if index >= first_kept && !Metadata::at(&below, "")?.is_on_mount_of(&self.mount) {
                return Err(Errno::XDEV);
            }
            let above = std::mem::replace(&mut fd, below);
            if index > first_kept {
                self.levels[index - 1].fd = Some(above);
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.fd = Some(fd);
        }
        Ok(())
    }

    fn stays(&mut self, name: Vec<u8>) {
        let Some(level) = self.levels.last_mut() else { return };
        // Beyond what a path can say, the start stands for it: the caller must know that
        // something stayed.
        let path = level.child(&name).unwrap_or_else(|| self.start.clone());
        level.staying.push(name);
        self.removal.stayed.push(path);
    }
}

impl Level {
    /// Reads names from the beginning: those read before are gone or stay.
    fn read_names(&mut self) -> Result<(), Errno> {
        let fd = self.fd.as_ref().ok_or(Errno::INVAL)?;
        rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(0))?;
        let (names, staying) = (&mut self.names, &self.staying);
        let mut more = false;
        list(fd, |Listed { name, kind: _ }| {
            if names.len() >= MAX_NAMES {
                more = true;
                return Ok::<bool, Errno>(false);
            }
            if !staying.iter().any(|stays| stays == name) {
                names.push(name.to_vec());
            }
            Ok(true)
        })?;
        self.more = more;
        Ok(())
    }
}
