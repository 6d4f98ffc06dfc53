//! [`RootDir`]: one directory tree behind a descriptor.
#![allow(clippy::todo, unused_variables, dead_code, missing_docs)]
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::*;

/// A directory tree that nothing done through it can leave.
#[derive(Clone, Debug)]
pub struct RootDir {
    fd: Arc<OwnedFd>,
    engine: Engine,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: FileKind,
}

impl RootDir {
    /// Opens a directory of the host as a root.
    pub fn open(path: &Path) -> Result<RootDir> {
        todo!()
    }
    /// The same with a given engine.
    pub fn open_with(path: &Path, engine: Engine) -> Result<RootDir> {
        todo!()
    }
    pub fn from_fd(fd: OwnedFd) -> Result<RootDir> {
        todo!()
    }
    /// A directory inside as a root of its own (links on the way are followed inside the root).
    pub fn subdir(&self, path: &RootPath) -> Result<RootDir> {
        todo!()
    }
    pub fn engine(&self) -> Engine {
        self.engine
    }
    // -- reading --
    /// About the path itself; parents resolved inside the root, the last component not followed.
    pub fn metadata(&self, path: &RootPath) -> Result<Metadata> {
        todo!()
    }
    /// `None` where nothing is (also where a parent is missing or no directory).
    pub fn metadata_opt(&self, path: &RootPath) -> Result<Option<Metadata>> {
        todo!()
    }
    pub fn exists(&self, path: &RootPath) -> Result<bool> {
        todo!()
    }
    /// Follows all links inside the root, the last one too; everything must exist.
    pub fn resolve(&self, path: &RootPath) -> Result<RootPath> {
        todo!()
    }
    /// Follows all links as far as the path exists; the missing tail is kept as written.
    pub fn resolve_existing(&self, path: &RootPath) -> Result<RootPath> {
        todo!()
    }
    /// Follows the links on the way, but not the last component (parents may be missing).
    pub fn resolve_parent(&self, path: &RootPath) -> Result<RootPath> {
        todo!()
    }
    /// Opens a regular file for reading; never blocks, follows no last link.
    pub fn open_file(&self, path: &RootPath) -> Result<File> {
        todo!()
    }
    /// Opens an existing regular file for writing, without truncating it.
    pub fn open_file_for_writing(&self, path: &RootPath) -> Result<File> {
        todo!()
    }
    /// The whole of a regular file of at most `limit` bytes.
    pub fn read(&self, path: &RootPath, limit: u64) -> Result<Vec<u8>> {
        todo!()
    }
    pub fn read_link(&self, path: &RootPath) -> Result<Vec<u8>> {
        todo!()
    }
    /// Sorted by name.
    pub fn read_dir(&self, path: &RootPath) -> Result<Vec<DirEntry>> {
        todo!()
    }
    /// passwd and group of this root.
    pub fn accounts(&self) -> Result<Accounts> {
        todo!()
    }
    // -- changing --
    /// `mode` is exact, whatever the umask.
    pub fn create_dir(&self, path: &RootPath, mode: u32) -> Result<()> {
        todo!()
    }
    /// Makes the missing directories of `path` (following links inside the root); returns the ones made, resolved.
    pub fn create_dir_all(&self, path: &RootPath, mode: u32) -> Result<Vec<RootPath>> {
        todo!()
    }
    /// O_EXCL|O_NOFOLLOW; `mode` is exact.
    pub fn create_file(&self, path: &RootPath, mode: u32) -> Result<File> {
        todo!()
    }
    pub fn symlink(&self, path: &RootPath, target: &[u8]) -> Result<()> {
        todo!()
    }
    /// `new` becomes another name of `old`; a link is linked itself.
    pub fn hard_link(&self, old: &RootPath, new: &RootPath) -> Result<()> {
        todo!()
    }
    /// FIFO, socket, device (or empty file).
    pub fn mknod(
        &self,
        path: &RootPath,
        kind: FileKind,
        mode: u32,
        rdev: (u32, u32),
    ) -> Result<()> {
        todo!()
    }
    /// A file or an empty directory.
    pub fn remove(&self, path: &RootPath) -> Result<()> {
        todo!()
    }
    /// A file or a whole tree; a missing one is fine. Says what stayed (protected, mounts).
    pub fn remove_tree(&self, path: &RootPath, protected: &Protected) -> Result<Removal> {
        todo!()
    }
    /// What is in a directory, but not the directory (works on the root).
    pub fn remove_contents(&self, path: &RootPath, protected: &Protected) -> Result<Removal> {
        todo!()
    }
    pub fn rename(&self, old: &RootPath, new: &RootPath) -> Result<()> {
        todo!()
    }
    // -- attributes, on the path itself, never following --
    pub fn set_owner(&self, path: &RootPath, uid: u32, gid: u32) -> Result<()> {
        todo!()
    }
    /// Not for symlinks, which have no mode.
    pub fn set_mode(&self, path: &RootPath, mode: u32) -> Result<()> {
        todo!()
    }
    pub fn set_times(&self, path: &RootPath, mtime: Timestamp) -> Result<()> {
        todo!()
    }
    /// Those that belong in a layer (see `belongs_in_layer`).
    pub fn get_xattrs(&self, path: &RootPath) -> Result<Xattrs> {
        todo!()
    }
    pub fn set_xattr(&self, path: &RootPath, name: &[u8], value: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn remove_xattr(&self, path: &RootPath, name: &[u8]) -> Result<()> {
        todo!()
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
