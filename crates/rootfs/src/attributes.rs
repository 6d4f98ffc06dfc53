//! Owner, mode and times of a path itself; a link is never followed.
//!
//! The order that keeps everything is owner, mode, extended attributes, times: changing the owner
//! takes setuid bits and capabilities away, and everything but the times moves the times.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::dir::RootDir;
use crate::entry::{Entry, path_of};
use crate::error::Error;
use crate::metadata::{FileKind, Timestamp};
use crate::path::RootPath;

impl RootDir {
    /// Gives the path to a user and a group.
    pub fn set_owner(&self, path: &RootPath, uid: u32, gid: u32) -> Result<(), Error> {
        refuse_owner(uid, gid, || Ok(path.clone()))?;
        let entry = self.entry("change the owner of", path)?;
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
        change_mode(&entry, metadata.kind, Mode::from_raw_mode(mode & 0o7777)).map_err(failed)
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
