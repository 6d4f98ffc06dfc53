//! [`AttributeTable`]: what files are to look like in an image, where the disk cannot be told.
//!
//! Whoever is not root can give no file away, and loses the way into a directory that is to have
//! the mode 0. So a root can be [`with_table`](RootDir::with_table): owners, modes, kinds of device
//! nodes and extended attributes of all that is made through it stand in memory, and every question
//! asked through it is answered from there. On disk is the rest: names, links, contents, times. A
//! node that only root can make is an empty file there.
//!
//! The rules are the kernel's for root, so that a tree looks the same as one that root made. What
//! cannot be carried is an error ([`Error::NotCarried`]), and so is a file of which the table does
//! not know: one that somebody else made, or a file system whose inodes change their numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::dir::RootDir;
use crate::error::Error;
use crate::metadata::{FileKind, Metadata};
use crate::path::RootPath;
use crate::xattr::{Xattrs, belongs_in_layer};

/// Attributes of the files of one or more roots, by inode.
#[derive(Debug, Default)]
pub struct AttributeTable {
    files: Mutex<HashMap<Inode, Attributes>>,
}

type Inode = ((u32, u32), u64);

/// What the disk does not know of one file.
#[derive(Debug, Clone)]
struct Attributes {
    kind: FileKind,
    mode: u32,
    uid: u32,
    gid: u32,
    rdev: (u32, u32),
    /// Boxed, since few files have any.
    xattrs: Option<Box<Xattrs>>,
}

/// What a file on disk needs so that its owner can work with it.
pub(crate) const DISK_FILE: u32 = 0o600;
/// The same of a directory.
pub(crate) const DISK_DIRECTORY: u32 = 0o700;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o010;

impl RootDir {
    /// The same directory, empty so far, with the attributes of all that is made in it kept in
    /// `table`. Roots with one table can be copied and renamed between.
    pub fn with_table(mut self, table: &Arc<AttributeTable>) -> Result<RootDir, Error> {
        let top =
            Metadata::at(&self, "").map_err(|errno| Error::io("stat", &RootPath::root(), errno))?;
        table.lock().entry(inode(&top)).or_insert_with(Attributes::root_directory);
        self.table = Some(Arc::clone(table));
        Ok(self)
    }
}

impl AttributeTable {
    /// Notes what was just made; `on_disk` and `parent` are the kernel's words.
    pub(crate) fn born(&self, on_disk: &Metadata, parent: &Metadata, made: &Made) {
        let mut files = self.lock();
        // As the kernel has it. A directory's own setgid bit is not inherited here: see `create`.
        let heir = files.get(&inode(parent)).filter(|parent| parent.mode & SETGID != 0);
        let attributes = Attributes {
            kind: made.kind,
            mode: if made.kind == FileKind::Symlink { 0o777 } else { made.mode & 0o7777 },
            uid: 0,
            gid: heir.map_or(0, |parent| parent.gid),
            rdev: made.rdev,
            xattrs: None,
        };
        files.insert(inode(on_disk), attributes);
    }

    /// What a file is to look like, from what the kernel says of it.
    pub(crate) fn complete(&self, on_disk: Metadata) -> Result<Metadata, Errno> {
        let files = self.lock();
        let known = files.get(&inode(&on_disk)).ok_or(UNKNOWN)?;
        let Attributes { kind, mode, uid, gid, rdev, .. } = *known;
        Ok(Metadata { kind, mode, uid, gid, rdev, ..on_disk })
    }

    pub(crate) fn set_owner(&self, file: &Metadata, uid: u32, gid: u32) -> Result<(), Errno> {
        self.change(file, |known| {
            (known.uid, known.gid) = (uid, gid);
            // The kernel takes rights away that were meant for another owner's file.
            if known.kind != FileKind::Directory {
                known.mode &= !SETUID;
                if known.mode & GROUP_EXECUTE != 0 {
                    known.mode &= !SETGID;
                }
                known.remove_xattr(b"security.capability");
            }
            Ok(())
        })
    }

    pub(crate) fn set_mode(&self, file: &Metadata, mode: u32) -> Result<(), Errno> {
        self.change(file, |known| {
            known.mode = mode & 0o7777;
            Ok(())
        })
    }

    pub(crate) fn set_xattr(
        &self,
        file: &Metadata,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), Errno> {
        self.change(file, |known| {
            let plain = matches!(known.kind, FileKind::File | FileKind::Directory);
            if name.starts_with(b"user.") && !plain {
                return Err(Errno::PERM);
            }
            known.xattrs.get_or_insert_default().insert(name.to_vec(), value.to_vec());
            Ok(())
        })
    }

    pub(crate) fn remove_xattr(&self, file: &Metadata, name: &[u8]) -> Result<(), Errno> {
        self.change(file, |known| known.remove_xattr(name).map_or(Err(Errno::NODATA), |_| Ok(())))
    }

    /// The attributes that belong in a layer.
    pub(crate) fn xattrs(&self, file: &Metadata) -> Result<Xattrs, Errno> {
        let files = self.lock();
        let known = files.get(&inode(file)).ok_or(UNKNOWN)?;
        let all = known.xattrs.iter().flat_map(|xattrs| xattrs.iter());
        let told = all.filter(|(name, _)| belongs_in_layer(name));
        Ok(told.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn change(
        &self,
        file: &Metadata,
        change: impl FnOnce(&mut Attributes) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        change(self.lock().get_mut(&inode(file)).ok_or(UNKNOWN)?)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Inode, Attributes>> {
        // Every change is one insertion; a panic elsewhere leaves none half done.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a file is made as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub(crate) kind: FileKind,
    pub(crate) mode: u32,
    pub(crate) rdev: (u32, u32),
}

impl Attributes {
    fn root_directory() -> Attributes {
        let kind = FileKind::Directory;
        Attributes { kind, mode: 0o755, uid: 0, gid: 0, rdev: (0, 0), xattrs: None }
    }

    fn remove_xattr(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        self.xattrs.as_mut()?.remove(name)
    }
}

/// What is told of a file that the table does not know: it is not the one we made.
const UNKNOWN: Errno = Errno::STALE;

fn inode(metadata: &Metadata) -> Inode {
    (metadata.dev, metadata.ino)
}

/// Refuses attributes that are more than a name and a value: the kernel derives modes from access
/// lists, and lists from modes.
pub(crate) fn refuse_lists(path: &RootPath, name: &[u8]) -> Result<(), Error> {
    match name.starts_with(b"system.") {
        true => {
            Err(Error::NotCarried { path: path.clone(), name: name.escape_ascii().to_string() })
        }
        false => Ok(()),
    }
}
