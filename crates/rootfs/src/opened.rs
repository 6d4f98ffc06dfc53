//! [`OpenDirectory`]: an open directory, with what can be asked about the names in it, and
//! [`OpenFile`]: a regular file in it.
//!
//! For whoever has many files to look at: the path of the directory is resolved once, and not for
//! every question about every name.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::attributes::{change_owner_failed, refuse_owner, set_open_mode, set_open_owner};
use crate::dir::RootDir;
use crate::entry::{Entry, Holder, complete, open_at};
use crate::error::Error;
use crate::metadata::{FileKind, Metadata, Timestamp};
use crate::path::RootPath;
use crate::table::{AttributeTable, DISK_FILE, Made, refuse_lists};
use crate::xattr::{self, Xattrs};

/// A directory, open.
#[derive(Debug)]
pub struct OpenDirectory {
    pub(crate) path: RootPath,
    pub(crate) fd: OwnedFd,
    pub(crate) metadata: Metadata,
    table: Option<Arc<AttributeTable>>,
}

impl RootDir {
    /// Opens a directory. A link to one is none.
    pub fn directory(&self, path: &RootPath) -> Result<OpenDirectory, Error> {
        let fd = self.open_directory(path)?;
        let table = self.table.clone();
        let metadata = complete(table.as_deref(), Metadata::at(&fd, ""))
            .map_err(|errno| Error::io("stat", path, errno))?;
        Ok(OpenDirectory { path: path.clone(), fd, metadata, table })
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
        xattr::of_open_in(self.table.as_deref(), &self.fd)
            .map_err(|errno| Error::io("read the attributes of", &self.path, errno))
    }

    /// The attributes of a name in it that belong in a layer.
    pub fn xattrs_of(&self, name: &[u8], kind: FileKind) -> Result<Xattrs, Error> {
        xattr::of_entry(&self.entry(name), kind)
            .map_err(|errno| self.failed("read the attributes of", name, errno))
    }

    /// Opens a name in it for reading; only a regular file.
    pub fn open_file(&self, name: &[u8]) -> Result<File, Error> {
        let failed = |errno| self.failed("open", name, errno);
        let fd = open_at(self.fd.as_fd(), name, OFlags::RDONLY).map_err(failed)?;
        if self.entry(name).about(&fd).map_err(failed)?.is_file() {
            return Ok(File::from(fd));
        }
        Err(Error::WrongKind { path: self.path.child(name)?, expected: "regular file" })
    }

    /// The same, with what there is to be known about the file.
    pub fn open_regular<'d>(&'d self, name: &'d [u8]) -> Result<(OpenFile<'d>, Metadata), Error> {
        let failed = |errno| self.failed("open", name, errno);
        let fd = open_at(self.fd.as_fd(), name, OFlags::RDONLY).map_err(failed)?;
        let metadata = self.entry(name).about(&fd).map_err(failed)?;
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
        let on_disk = if self.table.is_some() { DISK_FILE } else { mode & 0o777 };
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(on_disk)) {
            Ok(fd) => fd,
            Err(Errno::EXIST) => return Ok(None),
            Err(errno) => return Err(self.failed("create", name, errno)),
        };
        if let Some(table) = &self.table {
            let made = Made { kind: FileKind::File, mode: mode & 0o777, rdev: (0, 0) };
            let born = Metadata::at(&fd, "").map(|file| table.born(&file, &self.metadata, &made));
            born.map_err(|errno| self.failed("create", name, errno))?;
        }
        Ok(Some(OpenFile { file: File::from(fd), directory: self, name }))
    }

    fn entry<'d>(&'d self, name: &'d [u8]) -> Entry<'d> {
        Entry { dir: Holder::Root(self.fd.as_fd()), name, table: self.table.as_deref() }
    }

    /// About a name in it, which is not followed.
    pub fn metadata_of(&self, name: &[u8]) -> Result<Metadata, Error> {
        self.look(name).map_err(|errno| self.failed("stat", name, errno))
    }

    pub(crate) fn look(&self, name: &[u8]) -> Result<Metadata, Errno> {
        self.entry(name).metadata()
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
        complete(self.table(), Metadata::at(&self.file, "")).map_err(self.failed("stat"))
    }

    /// Its attributes that belong in a layer.
    pub fn xattrs(&self) -> Result<Xattrs, Error> {
        xattr::of_open_in(self.table(), &self.file).map_err(self.failed("read the attributes of"))
    }

    /// Gives it to a user and a group.
    pub fn set_owner(&self, uid: u32, gid: u32) -> Result<(), Error> {
        refuse_owner(uid, gid, || self.path())?;
        match set_open_owner(&self.file, self.table(), uid, gid) {
            Ok(()) => Ok(()),
            Err(errno) => Err(change_owner_failed(&self.path()?, uid, gid, errno)),
        }
    }

    /// Sets the permission bits.
    pub fn set_mode(&self, mode: u32) -> Result<(), Error> {
        set_open_mode(&self.file, self.table(), mode).map_err(self.failed("change the mode of"))
    }

    /// Sets one attribute.
    pub fn set_xattr(&self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        if self.table().is_some() {
            refuse_lists(&self.path()?, name)?;
        }
        xattr::set_open(&self.file, self.table(), name, value)
            .map_err(self.failed("set an attribute of"))
    }

    /// Sets both times, to the nanosecond.
    pub fn set_times(&self, mtime: Timestamp) -> Result<(), Error> {
        let time = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&self.file, &times).map_err(self.failed("change the times of"))
    }

    fn table(&self) -> Option<&AttributeTable> {
        self.directory.table.as_deref()
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
