//! `RUN --mount` where nothing can be mounted: things are moved into the root and back.
//!
//! The step finds the same at the same place. What it cannot be kept from is to change it, so a
//! caller hands over copies of what must not change.

use std::path::Path;

use rootfs::{FileKind, Metadata, Protected, RootDir, RootPath};
use rustix::io::Errno;
use sys::Secret;

use super::memory::Memory;
use super::placeholders::{Placeholders, Undo, same_kind};
use crate::stages::tree;
use crate::{Error, Mount, MountKind, Result};

/// Something of the builder that a step has for its time.
pub(super) struct Loan {
    /// Where it belongs, in the same root.
    home: RootPath,
    /// It lies on another file system: the step has a copy.
    copied: bool,
    read_only: bool,
    before: Metadata,
}

/// Puts all mounts of a step into the root, in order. `aside` is a directory for what they cover.
pub(super) fn place(
    placeholders: &mut Placeholders,
    root: &RootDir,
    protected: &Protected,
    aside: &RootPath,
    mounts: &[Mount],
) -> Result<()> {
    for (index, one) in mounts.iter().enumerate() {
        let directory = match &one.what {
            MountKind::Host { path, .. } => look(root, path)?.1.is_dir(),
            MountKind::Tmpfs { .. } => true,
            MountKind::Secret { .. } => false,
        };
        let (real, found) = placeholders.look(&one.target)?;
        if let Some(found) = &found {
            same_kind(&one.target, found, directory)?;
        }
        check_free(&one.target, &real, protected)?;
        let aside = aside.join(format!("mount-{index}"))?;
        match &one.what {
            MountKind::Host { path, read_only } => {
                lend(placeholders, root, &real, &aside, path, *read_only)?;
            }
            MountKind::Tmpfs { .. } => {
                let (mode, uid, gid) =
                    found.map_or((0o1777, 0, 0), |found| (found.mode, found.uid, found.gid));
                placeholders.replace(
                    &real,
                    &aside,
                    |aside| Undo::Substitute { aside },
                    |root| {
                        root.create_dir(&real, 0o700)?;
                        root.set_owner(&real, uid, gid)?;
                        root.set_mode(&real, mode)
                    },
                )?;
            }
            MountKind::Secret { content, mode, uid, gid } => {
                let rights = (*mode, *uid, *gid);
                hide(placeholders, &real, &aside, content, rights)?;
            }
        }
    }
    Ok(())
}

/// Where a host path is in the root, which is the host's own, and what it is.
fn look(root: &RootDir, path: &Path) -> Result<(RootPath, Metadata)> {
    let place = RootPath::new(path.as_os_str().as_encoded_bytes())?;
    let place = root.resolve(&place)?;
    let found = root.metadata(&place)?;
    Ok((place, found))
}

fn check_free(target: &RootPath, real: &RootPath, protected: &Protected) -> Result<()> {
    let stays = match protected.covers(real) {
        true => Some(real.clone()),
        false => protected.iter().find(|path| path.starts_with(real)).cloned(),
    };
    match stays {
        Some(stays) => Err(Error::MountProtected { target: target.clone(), stays }),
        None => Ok(()),
    }
}

fn lend(
    placeholders: &mut Placeholders,
    root: &RootDir,
    real: &RootPath,
    aside: &RootPath,
    path: &Path,
    read_only: bool,
) -> Result<()> {
    let (home, before) = look(root, path)?;
    let there = root.metadata_opt(&real.parent().unwrap_or_else(RootPath::root))?;
    // What does not exist yet is made on the file system of the root.
    let there = there.map_or_else(|| root.metadata(&RootPath::root()), Ok)?;
    let copied = !before.is_on_mount_of(&there);
    let loan = Loan { home: home.clone(), copied, read_only, before };
    let undo = |aside| Undo::Moved { aside, loan };
    placeholders.replace(real, aside, undo, |root| match copied {
        false => root.rename(&home, real),
        true => copy(root, &home, &before, real),
    })
}

/// Copies a directory tree from one file system to another.
fn copy(
    root: &RootDir,
    from: &RootPath,
    found: &Metadata,
    to: &RootPath,
) -> Result<(), rootfs::Error> {
    if found.kind != FileKind::Directory {
        let source = Errno::XDEV.into();
        return Err(rootfs::Error::Io { action: "move", path: from.clone(), source });
    }
    root.create_dir(to, 0o700)?;
    tree::copy(&root.subdir(from)?, &root.subdir(to)?)
}

impl Loan {
    /// Takes it back from where the step had it.
    pub(super) fn give_back(&self, root: &RootDir, real: &RootPath) -> Result<(), rootfs::Error> {
        let found = root.metadata_opt(real)?;
        let same = found.filter(|found| found.kind == self.before.kind);
        match (same, self.copied) {
            (Some(_), false) => root.rename(real, &self.home),
            (Some(_), true) if self.read_only => Ok(()),
            (Some(found), true) => self.copy_back(root, real, &found),
            // The step removed it, or put something else in its place.
            (None, true) => Ok(()),
            (None, false) if self.before.is_dir() => {
                root.create_dir(&self.home, 0o700)?;
                root.set_owner(&self.home, self.before.uid, self.before.gid)?;
                root.set_mode(&self.home, self.before.mode)
            }
            (None, false) => Ok(()),
        }
    }

    /// The new content beside the old one first, so that a kill leaves one of them whole.
    fn copy_back(
        &self,
        root: &RootDir,
        real: &RootPath,
        found: &Metadata,
    ) -> Result<(), rootfs::Error> {
        let (Some(parent), Some(name)) = (self.home.parent(), self.home.file_name()) else {
            return Ok(());
        };
        // A root of its own: the one above removes nothing on another file system.
        let dir = root.subdir(&parent)?;
        let (fresh, name) = (RootPath::new([name, b".new"].concat())?, RootPath::new(name)?);
        dir.remove_tree(&fresh, &Protected::none())?;
        copy(root, real, found, &parent.join(fresh.relative())?)?;
        dir.remove_tree(&name, &Protected::none())?;
        dir.rename(&fresh, &name)
    }
}

/// A secret: in memory where there is a file system for it, with a link to it in the root.
fn hide(
    placeholders: &mut Placeholders,
    real: &RootPath,
    aside: &RootPath,
    content: &Secret,
    (mode, uid, gid): (u32, u32, u32),
) -> Result<()> {
    let undo = |aside| Undo::Substitute { aside };
    match placeholders.memory()? {
        Some(memory) => {
            let link = memory.write(content, mode, uid, gid)?;
            placeholders.replace(real, aside, undo, |root| root.symlink(real, &link))
        }
        None => placeholders.replace(real, aside, undo, |root| {
            Memory::write_file(root, real, content)?;
            root.set_owner(real, uid, gid)?;
            root.set_mode(real, mode)
        }),
    }
}
