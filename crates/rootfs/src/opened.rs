//! [`OpenDirectory`]: a directory of a walk, with what can be asked about the names in it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::entry::{Entry, Holder, open_at};
use crate::error::Error;
use crate::metadata::{FileKind, Metadata};
use crate::path::RootPath;
use crate::xattr::{self, Xattrs};

/// A directory that is being walked, open.
#[derive(Debug)]
pub struct OpenDirectory {
    pub(crate) path: RootPath,
    pub(crate) fd: OwnedFd,
    pub(crate) metadata: Metadata,
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

impl AsFd for OpenDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
