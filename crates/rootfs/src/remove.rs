//! Removing trees: without recursion, with few descriptors, and never into a mount.
//!
//! A step can leave a tree that is deeper than any path may be, so nothing here is done by path:
//! levels are open directories, and of these only the nearest stay open. A level whose descriptor
//! was closed is reached again from the top, name by name and without following anything.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::dir::RootDir;
use crate::entry::{Listed, list, open_at};
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
        let failed = |errno| Error::io("remove", path, errno);
        let entry = self.named_entry("remove", path);
        let entry = match entry {
            Err(error) if error.is_not_found() => return Ok(Removal::default()),
            entry => entry?,
        };
        if protected.covers(path) {
            return Ok(Removal { stayed: vec![path.clone()] });
        }
        match unlink(entry.dir.as_fd(), entry.name).map_err(failed)? {
            Unlinked::Gone => return Ok(Removal::default()),
            Unlinked::Busy => return Ok(Removal { stayed: vec![path.clone()] }),
            Unlinked::Directory => {}
        }
        let holder = Metadata::at(&entry.dir, "").map_err(failed)?;
        let found = entry.metadata().map_err(failed)?;
        if is_mount_point(&holder, &found) {
            return Ok(Removal { stayed: vec![path.clone()] });
        }
        let removal = self.remove_contents(path, protected)?;
        if removal.is_complete() {
            match rustix::fs::unlinkat(&entry.dir, entry.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
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
        if protected.covers(path) {
            return Ok(Removal { stayed: vec![path.clone()] });
        }
        let failed = |errno| Error::io("remove", path, errno);
        let entry = self.entry("remove", path)?;
        let top = open_for_removal(entry.dir.as_fd(), entry.name).map_err(failed)?;
        let metadata = Metadata::at(&top, "").map_err(failed)?;
        let start = path.clone();
        let mut sweep = Sweep {
            protected,
            metadata,
            start,
            levels: Vec::new(),
            top,
            removal: Removal::default(),
        };
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
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(Unlinked::Gone),
        // A file that something is mounted on.
        Err(Errno::BUSY) => Ok(Unlinked::Busy),
        Err(Errno::ISDIR) => Ok(Unlinked::Directory),
        Err(errno) => Err(errno),
    }
}

fn is_mount_point(holder: &Metadata, found: &Metadata) -> bool {
    holder.mount_id != found.mount_id || holder.dev != found.dev
}

/// Opens a directory for listing; one that we own but may not read is made readable first, since
/// it goes anyway.
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
    /// About the top directory: what is not on its mount is not ours to remove.
    metadata: Metadata,
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
        if is_mount_point(&self.metadata, &found) {
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
        if is_mount_point(&self.metadata, &Metadata::at(&below, "")?) {
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
            if index >= first_kept && is_mount_point(&self.metadata, &Metadata::at(&below, "")?) {
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
