//! [`OpenNode`]: one file of any kind, held open, so that all answers are about the same file.
//!
//! What is asked by path can be about another file each time. Here a name is opened once: files
//! and directories for reading, all else as a mere reference, which wakes no device.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::dir::RootDir;
use crate::error::Error;
use crate::metadata::{FileKind, Metadata};
use crate::path::RootPath;
use crate::table::AttributeTable;
use crate::xattr::{self, Xattrs};

/// One file of any kind, open.
#[derive(Debug)]
pub struct OpenNode {
    path: RootPath,
    fd: OwnedFd,
    /// Whether the descriptor is more than a reference.
    is_readable: bool,
    metadata: Metadata,
    table: Option<Arc<AttributeTable>>,
}

impl RootDir {
    /// Opens the path itself, whatever it is; a last link is not followed.
    pub fn open_node(&self, path: &RootPath) -> Result<OpenNode, Error> {
        let failed = |errno| Error::io("open", path, errno);
        let entry = self.entry("open", path)?;
        // Opening for reading is harmless for these two kinds only.
        let kind = entry.metadata().map_err(failed)?.kind;
        let opened = match kind {
            FileKind::File | FileKind::Directory => match entry.open(OFlags::RDONLY) {
                Ok(fd) => Some(fd),
                // We may own it without being allowed to read it.
                Err(Errno::ACCESS) => None,
                Err(errno) => return Err(failed(errno)),
            },
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::BlockDevice
            | FileKind::CharDevice => None,
        };
        let is_readable = opened.is_some();
        let fd = match opened {
            Some(fd) => fd,
            None => entry.reference().map_err(failed)?,
        };
        let metadata = entry.about(&fd).map_err(failed)?;
        if is_readable && metadata.kind != kind {
            let path = path.clone();
            return Err(Error::WrongKind { path, expected: "file of the kind it just was" });
        }
        Ok(OpenNode { path: path.clone(), fd, is_readable, metadata, table: self.table.clone() })
    }
}

impl OpenNode {
    /// About it, at the moment it was opened.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Its attributes that belong in a layer (see [`crate::belongs_in_layer`]).
    pub fn xattrs(&self) -> Result<Xattrs, Error> {
        let table = self.table.as_deref();
        let found = match self.is_readable || table.is_some() {
            true => xattr::of_open_in(table, &self.fd),
            false => xattr::of_reference(&self.fd),
        };
        found.map_err(|errno| Error::io("read the attributes of", &self.path, errno))
    }

    /// What it says, if it is a link.
    pub fn read_link(&self) -> Result<Vec<u8>, Error> {
        match rustix::fs::readlinkat(&self.fd, "", Vec::new()) {
            Ok(target) => Ok(target.into_bytes()),
            // What the kernel says of a reference to anything else.
            Err(Errno::INVAL | Errno::NOENT) if !self.metadata.is_symlink() => {
                Err(Error::WrongKind { path: self.path.clone(), expected: "symbolic link" })
            }
            Err(errno) => Err(Error::io("read the link", &self.path, errno)),
        }
    }

    /// Its content, if it is a regular file that may be read.
    pub fn into_file(self) -> Result<File, Error> {
        match (self.metadata.kind, self.is_readable) {
            (FileKind::File, true) => Ok(File::from(self.fd)),
            (FileKind::File, false) => Err(Error::io("open", &self.path, Errno::ACCESS)),
            _ => Err(Error::WrongKind { path: self.path, expected: "regular file" }),
        }
    }
}
