//! Room in a root for what a step must find there and no layer may hold.
//!
//! A mount needs something to lie on, and an image often has no `/proc` or `/etc/resolv.conf`.
//! What is made for that is unmade after the step, last first, and the times of the directories
//! around it are set back, unless the step itself changed them.

use std::io::Write;

use rootfs::{Metadata, Protected, RootDir, RootPath, Timestamp};

use super::memory::Memory;
use super::moved::Loan;
use crate::{Error, Result};

/// What was made in one root for one step.
pub(crate) struct Placeholders {
    root: RootDir,
    made: Vec<Made>,
    /// For what must not be on a disk; looked for once.
    memory: Option<Option<Memory>>,
}

struct Made {
    path: RootPath,
    /// The directory around it, its time before and just after.
    parent: RootPath,
    before: Timestamp,
    after: Timestamp,
    undo: Undo,
}

pub(super) enum Undo {
    /// A directory that is of use only while empty.
    Directory,
    /// An empty file that something was mounted on.
    File,
    /// A file with content, in place of what lies aside meanwhile.
    Substitute { aside: Option<RootPath> },
    /// Something of the builder that goes back to where it was.
    Moved { aside: Option<RootPath>, loan: Loan },
}

impl Placeholders {
    pub(super) fn new(root: &RootDir) -> Self {
        Self { root: root.clone(), made: Vec::new(), memory: None }
    }

    /// A directory to mount on; where it really is.
    pub(super) fn directory(&mut self, path: &RootPath) -> Result<RootPath> {
        self.attempt(path, |this| {
            let real = this.root.resolve_existing(path)?;
            this.make_directories(&real)?;
            Ok(real)
        })
    }

    /// A file to mount on; where it really is. `None` where nothing sensible can be there: a link
    /// that leads nowhere, or to a place that is not the image's.
    pub(super) fn file(
        &mut self,
        path: &RootPath,
        foreign: &Protected,
    ) -> Result<Option<RootPath>> {
        self.attempt(path, |this| {
            let Ok(real) = this.root.resolve_existing(path) else { return Ok(None) };
            if foreign.covers(&real) {
                return Ok(None);
            }
            match this.root.metadata_opt(&real)? {
                Some(found) if found.is_file() => return Ok(Some(real)),
                Some(_) => return Ok(None),
                None => {}
            }
            if let Some(parent) = real.parent() {
                this.make_directories(&parent)?;
            }
            this.record(&real, Undo::File, |root| root.create_file(&real, 0o644).map(drop))?;
            Ok(Some(real))
        })
    }

    /// Something to mount a directory on, or anything else; where it really is. What is there
    /// already must be of the same kind.
    pub(super) fn room(&mut self, path: &RootPath, directory: bool) -> Result<RootPath> {
        let (real, found) = self.look(path)?;
        match found {
            None => {}
            Some(found) => return same_kind(path, &found, directory).map(|()| real),
        }
        self.attempt(path, |this| {
            if directory {
                this.make_directories(&real)?;
                return Ok(real);
            }
            if let Some(parent) = real.parent() {
                this.make_directories(&parent)?;
            }
            this.record(&real, Undo::File, |root| root.create_file(&real, 0o644).map(drop))?;
            Ok(real)
        })
    }

    /// A place for files in memory that are gone with everything else; `None` if there is none.
    pub(super) fn memory(&mut self) -> Result<Option<&mut Memory>> {
        let memory = match self.memory.take() {
            Some(memory) => memory,
            None => Memory::make()?,
        };
        Ok(self.memory.insert(memory).as_mut())
    }

    /// Where a path leads, and what is there.
    pub(super) fn look(&mut self, path: &RootPath) -> Result<(RootPath, Option<Metadata>)> {
        self.attempt(path, |this| {
            let real = this.root.resolve_existing(path)?;
            let found = this.root.metadata_opt(&real)?;
            Ok((real, found))
        })
    }

    /// Something in place of whatever is at a path without links; that is kept aside meanwhile.
    pub(super) fn replace(
        &mut self,
        real: &RootPath,
        aside: &RootPath,
        undo: impl FnOnce(Option<RootPath>) -> Undo,
        make: impl FnOnce(&RootDir) -> Result<(), rootfs::Error>,
    ) -> Result<()> {
        self.attempt(real, |this| {
            if let Some(parent) = real.parent() {
                this.make_directories(&parent)?;
            }
            let kept = this.root.metadata_opt(real)?.is_some().then(|| aside.clone());
            this.record(real, undo(kept.clone()), |root| {
                if let Some(aside) = &kept {
                    root.rename(real, aside)?;
                }
                make(root)
            })
        })
    }

    /// A file with this content, whatever is there; that is kept aside meanwhile.
    pub(super) fn substitute(
        &mut self,
        path: &RootPath,
        content: &[u8],
        mode: u32,
        aside: &RootPath,
    ) -> Result<()> {
        let real = self.attempt(path, |this| {
            let (parent, name) = (path.parent(), path.file_name().unwrap_or_default());
            let parent = this.root.resolve_existing(&parent.unwrap_or_else(RootPath::root))?;
            parent.join(name)
        })?;
        self.replace(
            &real,
            aside,
            |aside| Undo::Substitute { aside },
            |root| {
                let mut file = root.create_file(&real, mode)?;
                let written = file.write_all(content);
                written.map_err(|source| io_error(&real, source))?;
                root.set_mode(&real, mode)
            },
        )
    }

    fn make_directories(&mut self, real: &RootPath) -> Result<(), rootfs::Error> {
        let mut missing = Vec::new();
        let mut next = Some(real.clone());
        while let Some(path) = next.filter(|path| !path.is_root()) {
            if self.root.metadata_opt(&path)?.is_some() {
                break;
            }
            next = path.parent();
            missing.push(path);
        }
        for path in missing.into_iter().rev() {
            self.record(&path, Undo::Directory, |root| {
                root.create_dir(&path, 0o755)?;
                root.set_mode(&path, 0o755)
            })?;
        }
        Ok(())
    }

    /// Makes something and notes how to unmake it.
    fn record(
        &mut self,
        path: &RootPath,
        undo: Undo,
        make: impl FnOnce(&RootDir) -> Result<(), rootfs::Error>,
    ) -> Result<(), rootfs::Error> {
        let parent = path.parent().unwrap_or_else(RootPath::root);
        let before = self.root.metadata(&parent)?.mtime;
        let outcome = make(&self.root);
        let after = self.root.metadata(&parent)?.mtime;
        self.made.push(Made { path: path.clone(), parent, before, after, undo });
        outcome
    }

    fn attempt<T>(
        &mut self,
        path: &RootPath,
        work: impl FnOnce(&mut Self) -> Result<T, rootfs::Error>,
    ) -> Result<T> {
        work(self).map_err(|source| Error::Placeholder { path: path.clone(), source })
    }

    /// Unmakes everything.
    pub(crate) fn clean(mut self) -> Result<()> {
        self.undo_all()
    }

    fn undo_all(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        while let Some(made) = self.made.pop() {
            let undone = undo(&self.root, &made);
            let undone = undone.map_err(|source| Error::Placeholder { path: made.path, source });
            // The first failure is told; the rest is still undone.
            outcome = outcome.and(undone);
        }
        outcome
    }
}

impl Drop for Placeholders {
    fn drop(&mut self) {
        // Only on the way out with another error, which is the one to tell.
        let _ = self.undo_all();
    }
}

fn undo(root: &RootDir, made: &Made) -> Result<(), rootfs::Error> {
    let Some(parent) = root.metadata_opt(&made.parent)? else { return Ok(()) };
    let found = root.metadata_opt(&made.path)?;
    match &made.undo {
        Undo::Directory if found.is_some_and(|found| found.is_dir()) => {
            if !root.read_dir(&made.path)?.is_empty() {
                return Ok(()); // the step put something of its own into it
            }
            root.remove(&made.path)?;
        }
        Undo::File if found.is_some_and(|found| is_untouched(&found)) => root.remove(&made.path)?,
        Undo::Directory | Undo::File => return Ok(()),
        Undo::Substitute { aside } => put_back(root, &made.path, aside.as_ref())?,
        Undo::Moved { aside, loan } => {
            loan.give_back(root, &made.path)?;
            put_back(root, &made.path, aside.as_ref())?;
        }
    }
    // A time that the step set stays; else it is what it was before.
    let time = if parent.mtime == made.after { made.before } else { parent.mtime };
    root.set_times(&made.parent, time)
}

/// Removes what is at a path, and brings back what was there before.
fn put_back(
    root: &RootDir,
    path: &RootPath,
    aside: Option<&RootPath>,
) -> Result<(), rootfs::Error> {
    root.remove_tree(path, &Protected::none())?;
    match aside {
        Some(aside) if root.metadata_opt(aside)?.is_some() => root.rename(aside, path),
        Some(_) | None => Ok(()),
    }
}

/// That what is at a mount's target can be mounted on.
pub(super) fn same_kind(target: &RootPath, found: &Metadata, directory: bool) -> Result<()> {
    let (what, there) = match (directory, found.is_dir()) {
        (true, false) => ("a directory", "no directory"),
        (false, true) => ("a file", "a directory"),
        (true, true) | (false, false) => return Ok(()),
    };
    Err(Error::MountKind { what, target: target.clone(), found: there })
}

/// Whether a file is what it was made as. Something was mounted on it, so the step saw another.
fn is_untouched(found: &Metadata) -> bool {
    found.is_file() && found.size == 0
}

fn io_error(path: &RootPath, source: std::io::Error) -> rootfs::Error {
    rootfs::Error::Io { action: "write", path: path.clone(), source }
}
