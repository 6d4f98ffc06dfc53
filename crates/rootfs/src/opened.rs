//! [`OpenDirectory`]: an open directory, with what can be asked about the names in it, and
//! [`OpenFile`]: a regular file in it.
//!
//! For whoever has many files to look at: the path of the directory is resolved once, and not for
//! every question about every name.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::attributes::{change_owner_failed, refuse_owner};
use crate::dir::RootDir;
use crate::entry::{Entry, Holder, open_at};
use crate::error::Error;
use crate::metadata::{FileKind, Metadata, Timestamp};
use crate::path::RootPath;
use crate::xattr::{self, Xattrs};

/// A directory, open.
#[derive(Debug)]
pub struct OpenDirectory {
    pub(crate) path: RootPath,
    pub(crate) fd: OwnedFd,
    pub(crate) metadata: Metadata,
}

impl RootDir {
    /// Opens a directory. A link to one is none.
    pub fn directory(&self, path: &RootPath) -> Result<OpenDirectory, Error> {
        let fd = self.open_directory(path)?;
        let metadata = Metadata::at(&fd, "").map_err(|errno| Error::io("stat", path, errno))?;
        Ok(OpenDirectory { path: path.clone(), fd, metadata })
    }
}

impl OpenDirectory {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &RootPath {
        &self.path
    }

    /// About itself.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Its own attributes that belong in a layer.
    pub fn xattrs(&self) -> Result<Xattrs, Error> {
        xattr::of_open(&self.fd)
            .map_err(|errno| Error::io("read the attributes of", &self.path, errno))
    }

    /// The attributes of a name in it that belong in a layer.
    pub fn xattrs_of(&self, name: &[u8], kind: FileKind) -> Result<Xattrs, Error> {
        let entry = Entry { dir: Holder::Root(self.fd.as_fd()), name };
        xattr::of_entry(&entry, kind)
            .map_err(|errno| self.failed("read the attributes of", name, errno))
    }

    /// Opens a name in it for reading; only a regular file.
    pub fn open_file(&self, name: &[u8]) -> Result<File, Error> {
        let failed = |errno| self.failed("open", name, errno);
        let fd = open_at(self.fd.as_fd(), name, OFlags::RDONLY).map_err(failed)?;
        if Metadata::at(&fd, "").map_err(failed)?.is_file() {
            return Ok(File::from(fd));
        }
        Err(Error::WrongKind { path: self.path.child(name)?, expected: "regular file" })
    }

    /// The same, with what there is to be known about the file.
    pub fn open_regular<'d>(&'d self, name: &'d [u8]) -> Result<(OpenFile<'d>, Metadata), Error> {
        let failed = |errno| self.failed("open", name, errno);
        let fd = open_at(self.fd.as_fd(), name, OFlags::RDONLY).map_err(failed)?;
        let metadata = Metadata::at(&fd, "").map_err(failed)?;
        if metadata.is_file() {
            return Ok((OpenFile { file: File::from(fd), directory: self, name }, metadata));
        }
        Err(Error::WrongKind { path: self.path.child(name)?, expected: "regular file" })
    }

    /// Makes an empty regular file, open for reading and writing; `None` where something is
    /// already. The mode it gets is subject to the umask and the like: ask, and set it.
    pub fn create_regular<'d>(
        &'d self,
        name: &'d [u8],
        mode: u32,
    ) -> Result<Option<OpenFile<'d>>, Error> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(mode & 0o777)) {
            Ok(fd) => Ok(Some(OpenFile { file: File::from(fd), directory: self, name })),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(self.failed("create", name, errno)),
        }
    }

    /// About a name in it, which is not followed.
    pub fn metadata_of(&self, name: &[u8]) -> Result<Metadata, Error> {
        Metadata::at(&self.fd, name).map_err(|errno| self.failed("stat", name, errno))
    }

    /// What a link in it says.
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, Error> {
        rustix::fs::readlinkat(&self.fd, name, Vec::new())
            .map(std::ffi::CString::into_bytes)
            .map_err(|errno| self.failed("read the link", name, errno))
    }

    /// The path of a name in it.
    pub fn child(&self, name: &[u8]) -> Result<RootPath, Error> {
        self.path.child(name)
    }

    pub(crate) fn failed(&self, action: &'static str, name: &[u8], errno: Errno) -> Error {
        match self.path.child(name) {
            Ok(path) => Error::io(action, &path, errno),
            Err(error) => error,
        }
    }
}

/// A regular file in an open directory, open itself.
#[derive(Debug)]
pub struct OpenFile<'d> {
    file: File,
    directory: &'d OpenDirectory,
    name: &'d [u8],
}

impl OpenFile<'_> {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is.
    pub fn path(&self) -> Result<RootPath, Error> {
        self.directory.child(self.name)
    }

    /// About it.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        Metadata::at(&self.file, "").map_err(self.failed("stat"))
    }

    /// Its attributes that belong in a layer.
    pub fn xattrs(&self) -> Result<Xattrs, Error> {
        xattr::of_open(&self.file).map_err(self.failed("read the attributes of"))
    }

    /// Gives it to a user and a group.
    pub fn set_owner(&self, uid: u32, gid: u32) -> Result<(), Error> {
        refuse_owner(uid, gid, || self.path())?;
        match rustix::fs::fchown(&self.file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
            Ok(()) => Ok(()),
            Err(errno) => Err(change_owner_failed(&self.path()?, uid, gid, errno)),
        }
    }

    /// Sets the permission bits.
    pub fn set_mode(&self, mode: u32) -> Result<(), Error> {
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode & 0o7777))
            .map_err(self.failed("change the mode of"))
    }

    /// Sets one attribute.
    pub fn set_xattr(&self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        xattr::set_open(&self.file, name, value).map_err(self.failed("set an attribute of"))
    }

    /// Sets both times, to the nanosecond.
    pub fn set_times(&self, mtime: Timestamp) -> Result<(), Error> {
        let time = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&self.file, &times).map_err(self.failed("change the times of"))
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(Errno) -> Error {
        move |errno| self.directory.failed(action, self.name, errno)
    }
}

impl AsFd for OpenDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
