//! Owner, mode and times of a path itself; a link is never followed.
//!
//! The order that keeps everything is owner, mode, extended attributes, times: changing the owner
//! takes setuid bits and capabilities away, and everything but the times moves the times.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::dir::RootDir;
use crate::entry::{Entry, path_of};
use crate::error::Error;
use crate::metadata::{FileKind, Metadata, Timestamp};
use crate::path::RootPath;
use crate::table::AttributeTable;

impl RootDir {
    /// Gives the path to a user and a group.
    pub fn set_owner(&self, path: &RootPath, uid: u32, gid: u32) -> Result<(), Error> {
        refuse_owner(uid, gid, || Ok(path.clone()))?;
        let entry = self.entry("change the owner of", path)?;
        if let Some(table) = entry.table {
            let set = entry.on_disk().and_then(|file| table.set_owner(&file, uid, gid));
            return set.map_err(|errno| Error::io("change the owner of", path, errno));
        }
        let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&entry.dir, entry.name, Some(user), Some(group), flags)
            .map_err(|errno| change_owner_failed(path, uid, gid, errno))
    }

    /// Sets the permission bits. A symbolic link has none of its own: asking for it is an error.
    pub fn set_mode(&self, path: &RootPath, mode: u32) -> Result<(), Error> {
        let failed = |errno| Error::io("change the mode of", path, errno);
        let entry = self.entry("change the mode of", path)?;
        let metadata = entry.metadata().map_err(failed)?;
        if metadata.is_symlink() {
            return Err(Error::WrongKind {
                path: path.clone(),
                expected: "file that has a mode (it is a symbolic link)",
            });
        }
        if metadata.mode == mode & 0o7777 {
            return Ok(());
        }
        if let Some(table) = entry.table {
            return table.set_mode(&metadata, mode).map_err(failed);
        }
        change_mode(&entry, metadata.kind, Mode::from_raw_mode(mode & 0o7777)).map_err(failed)
    }

    /// [`set_owner`](Self::set_owner) for a file of this root that is open.
    pub fn set_owner_of(
        &self,
        file: &File,
        path: &RootPath,
        uid: u32,
        gid: u32,
    ) -> Result<(), Error> {
        refuse_owner(uid, gid, || Ok(path.clone()))?;
        set_open_owner(file, self.table.as_deref(), uid, gid)
            .map_err(|errno| change_owner_failed(path, uid, gid, errno))
    }

    /// [`set_mode`](Self::set_mode) for a file of this root that is open.
    pub fn set_mode_of(&self, file: &File, path: &RootPath, mode: u32) -> Result<(), Error> {
        set_open_mode(file, self.table.as_deref(), mode)
            .map_err(|errno| Error::io("change the mode of", path, errno))
    }

    /// Sets both times, to the nanosecond.
    pub fn set_times(&self, path: &RootPath, mtime: Timestamp) -> Result<(), Error> {
        let entry = self.entry("change the times of", path)?;
        let time = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(&entry.dir, entry.name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| Error::io("change the times of", path, errno))
    }
}

/// Gives an open file to a user and a group.
pub(crate) fn set_open_owner(
    file: &File,
    table: Option<&AttributeTable>,
    uid: u32,
    gid: u32,
) -> Result<(), Errno> {
    match table {
        Some(table) => table.set_owner(&Metadata::at(file, "")?, uid, gid),
        None => rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))),
    }
}

/// Sets the permission bits of an open file.
pub(crate) fn set_open_mode(
    file: &File,
    table: Option<&AttributeTable>,
    mode: u32,
) -> Result<(), Errno> {
    match table {
        Some(table) => table.set_mode(&Metadata::at(file, "")?, mode),
        None => rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777)),
    }
}

/// Refuses the number that to the kernel means "leave it as it is".
pub(crate) fn refuse_owner(
    uid: u32,
    gid: u32,
    path: impl FnOnce() -> Result<RootPath, Error>,
) -> Result<(), Error> {
    match [uid, gid].into_iter().find(|id| *id == u32::MAX) {
        Some(id) => Err(Error::InvalidOwner { path: path()?, id }),
        None => Ok(()),
    }
}

pub(crate) fn change_owner_failed(path: &RootPath, uid: u32, gid: u32, errno: Errno) -> Error {
    match errno {
        // What the kernel says of ids that the user namespace does not map.
        Errno::INVAL => Error::UnmappedOwner { path: path.clone(), uid, gid, source: errno.into() },
        errno => Error::io("change the owner of", path, errno),
    }
}

/// The kernel's plain call follows links, so the mode goes through a descriptor: an open one where
/// opening is harmless, else a reference by way of /proc.
#[allow(clippy::disallowed_methods, reason = "by way of a descriptor of ours in /proc")]
pub(crate) fn change_mode(entry: &Entry<'_>, kind: FileKind, mode: Mode) -> Result<(), Errno> {
    match entry.open_readable(kind) {
        Ok(Some(fd)) => return rustix::fs::fchmod(&fd, mode),
        // One of its kinds that cannot be opened, or a file we may own but not read.
        Ok(None) | Err(Errno::ACCESS) => {}
        Err(errno) => return Err(errno),
    }
    let reference: OwnedFd = entry.reference()?;
    match path_of(&reference) {
        Some(path) => rustix::fs::chmod(path, mode),
        // Without /proc, a FIFO can still be opened without waiting for its other end.
        None if kind == FileKind::Fifo => rustix::fs::fchmod(entry.open(OFlags::RDONLY)?, mode),
        None => Err(Errno::OPNOTSUPP),
    }
}
