//! [`RootDir`]: one directory tree behind a descriptor, and what can be asked of it.
//!
//! Here is how a root is opened, resolved and read. What changes it is in `create`, `attributes`,
//! `xattr` and `remove`.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::accounts::Accounts;
use crate::entry::{Entry, Holder, Listed, complete, list};
use crate::error::Error;
use crate::metadata::{FileKind, Metadata};
use crate::path::RootPath;
use crate::resolve::{Engine, Last, Missing, Steps};
use crate::table::AttributeTable;

/// A directory tree that nothing done through it can leave.
///
/// Parents of a path are resolved inside the root, links and all; the last component is never
/// followed unless the operation says so. Cloning shares the descriptor.
#[derive(Clone, Debug)]
pub struct RootDir {
    fd: Arc<OwnedFd>,
    engine: Engine,
    /// Where attributes stand that the disk cannot be told.
    pub(crate) table: Option<Arc<AttributeTable>>,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: FileKind,
}

impl RootDir {
    /// Opens a directory of the host as a root.
    pub fn open(path: &Path) -> Result<RootDir, Error> {
        let fd = open_host(path)?;
        let engine = Engine::probe(fd.as_fd());
        Ok(RootDir { fd: Arc::new(fd), engine, table: None })
    }

    /// The same with an engine of the caller's choice.
    pub fn open_with(path: &Path, engine: Engine) -> Result<RootDir, Error> {
        Ok(RootDir { fd: Arc::new(open_host(path)?), engine, table: None })
    }

    /// Takes an open directory as a root.
    pub fn from_fd(fd: OwnedFd) -> Result<RootDir, Error> {
        let kind = Metadata::at(&fd, "").map(|metadata| metadata.kind);
        let errno = match kind {
            Ok(FileKind::Directory) => {
                let engine = Engine::probe(fd.as_fd());
                return Ok(RootDir { fd: Arc::new(fd), engine, table: None });
            }
            Ok(_) => Errno::NOTDIR,
            Err(errno) => errno,
        };
        Err(Error::io("open", &RootPath::root(), errno))
    }

    /// A directory inside as a root of its own. Links are followed inside this root, the last one
    /// too; seen from the new root, there is nothing above it.
    pub fn subdir(&self, path: &RootPath) -> Result<RootDir, Error> {
        let fd = self
            .engine
            .open_dir(self.fd.as_fd(), path.relative())
            .map_err(|errno| Error::io("open", path, errno))?;
        Ok(RootDir { fd: Arc::new(fd), engine: self.engine, table: self.table.clone() })
    }

    /// Where the root is on the host at this moment, as the kernel tells; `None` without /proc, or
    /// where it cannot be reached from `/` any more.
    #[must_use]
    pub fn host_path(&self) -> Option<std::path::PathBuf> {
        let here = rustix::fs::openat(&self.fd, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let here = here.ok()?;
        let path = rustix::fs::readlink(crate::entry::path_of(&here)?, Vec::new()).ok()?;
        let path = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()));
        // The kernel marks what was removed by a word behind the path.
        let (known, found) = (rustix::fs::fstat(&here).ok()?, rustix::fs::stat(path).ok()?);
        let same = (known.st_dev, known.st_ino) == (found.st_dev, found.st_ino);
        same.then(|| path.to_owned())
    }

    /// How this root resolves paths.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// About the path itself; a last link is not followed.
    pub fn metadata(&self, path: &RootPath) -> Result<Metadata, Error> {
        self.entry("stat", path)?.metadata().map_err(|errno| Error::io("stat", path, errno))
    }

    /// The same, `None` where nothing is (also where a parent is missing or no directory).
    pub fn metadata_opt(&self, path: &RootPath) -> Result<Option<Metadata>, Error> {
        match self.metadata(path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether something is there, be it a dangling link.
    pub fn exists(&self, path: &RootPath) -> Result<bool, Error> {
        Ok(self.metadata_opt(path)?.is_some())
    }

    /// Where `path` leads: all links followed inside the root, the last one too. Must exist.
    pub fn resolve(&self, path: &RootPath) -> Result<RootPath, Error> {
        Ok(self.follow(path, Last::Follow, Missing::Fail)?.0)
    }

    /// The same as far as the path exists; the missing tail is kept as it is written.
    pub fn resolve_existing(&self, path: &RootPath) -> Result<RootPath, Error> {
        Ok(self.follow(path, Last::Follow, Missing::Keep)?.0)
    }

    /// The same, but a link that is the last component is not followed.
    pub fn resolve_parent(&self, path: &RootPath) -> Result<RootPath, Error> {
        Ok(self.follow(path, Last::Keep, Missing::Keep)?.0)
    }

    /// The resolved path, and how many of its components exist.
    pub(crate) fn follow(
        &self,
        path: &RootPath,
        last: Last,
        missing: Missing,
    ) -> Result<(RootPath, usize), Error> {
        let found = Steps::new(self.fd.as_fd())
            .run(path.relative(), last, missing)
            .map_err(|errno| Error::io("resolve", path, errno))?;
        let resolved = RootPath::new(found.trail.join(&b'/'))?;
        Ok((resolved, found.existing))
    }

    /// Opens a regular file for reading. Never blocks, and opens nothing but a regular file.
    pub fn open_file(&self, path: &RootPath) -> Result<File, Error> {
        self.open_regular(path, OFlags::RDONLY)
    }

    /// Opens a regular file that exists for reading and writing; its content stays.
    pub fn open_file_for_writing(&self, path: &RootPath) -> Result<File, Error> {
        self.open_regular(path, OFlags::RDWR)
    }

    fn open_regular(&self, path: &RootPath, flags: OFlags) -> Result<File, Error> {
        let failed = |errno| Error::io("open", path, errno);
        let entry = self.entry("open", path)?;
        // Asked twice: first because opening a device can do something, then because only the
        // answer about what is open is sure.
        if entry.metadata().map_err(failed)?.is_file() {
            let fd = entry.open(flags).map_err(failed)?;
            if entry.about(&fd).map_err(failed)?.is_file() {
                return Ok(File::from(fd));
            }
        }
        Err(Error::WrongKind { path: path.clone(), expected: "regular file" })
    }

    /// The whole of a regular file of at most `limit` bytes.
    pub fn read(&self, path: &RootPath, limit: u64) -> Result<Vec<u8>, Error> {
        let file = self.open_file(path)?;
        let mut content = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(|source| Error::Io { action: "read", path: path.clone(), source })?;
        if u64::try_from(content.len()).is_ok_and(|length| length <= limit) {
            Ok(content)
        } else {
            Err(Error::TooLarge { path: path.clone(), limit })
        }
    }

    /// What a link says, as it is written.
    pub fn read_link(&self, path: &RootPath) -> Result<Vec<u8>, Error> {
        let entry = self.entry("read the link", path)?;
        match rustix::fs::readlinkat(&entry.dir, entry.name, Vec::new()) {
            Ok(target) => Ok(target.into_bytes()),
            Err(Errno::INVAL) => {
                Err(Error::WrongKind { path: path.clone(), expected: "symbolic link" })
            }
            Err(errno) => Err(Error::io("read the link", path, errno)),
        }
    }

    /// What is in a directory, sorted by name. A link to a directory is none.
    pub fn read_dir(&self, path: &RootPath) -> Result<Vec<DirEntry>, Error> {
        let failed = |errno| Error::io("list", path, errno);
        let directory = self.open_directory(path)?;
        let mut entries = Vec::new();
        list(&directory, |Listed { name, kind }| {
            // With a table, what is a file on disk can be another's placeholder.
            let kind = kind.filter(|kind| self.table.is_none() || *kind != FileKind::File);
            let kind = match kind {
                Some(kind) => Some(kind),
                None => match complete(self.table.as_deref(), Metadata::at(&directory, name)) {
                    Ok(metadata) => Some(metadata.kind),
                    Err(Errno::NOENT) => None,
                    Err(errno) => return Err(errno),
                },
            };
            entries.extend(kind.map(|kind| DirEntry { name: name.to_vec(), kind }));
            Ok(true)
        })
        .map_err(failed)?;
        entries.sort();
        Ok(entries)
    }

    /// The users and groups this root knows.
    pub fn accounts(&self) -> Result<Accounts, Error> {
        Accounts::read(self)
    }

    /// A directory, open for listing.
    pub(crate) fn open_directory(&self, path: &RootPath) -> Result<OwnedFd, Error> {
        self.entry("list", path)?
            .open(OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|errno| Error::io("list", path, errno))
    }

    /// The entry that `path` names: its parents are resolved, its last component is not.
    pub(crate) fn entry<'r>(
        &'r self,
        action: &'static str,
        path: &'r RootPath,
    ) -> Result<Entry<'r>, Error> {
        let Some(name) = path.file_name() else {
            return Ok(self.found(Holder::Root(self.fd.as_fd()), b"."));
        };
        let relative = path.relative();
        let parent = &relative[..relative.len() - name.len()];
        if parent.is_empty() {
            return Ok(self.found(Holder::Root(self.fd.as_fd()), name));
        }
        let parent = &parent[..parent.len() - 1];
        let opened = self
            .engine
            .open_dir(self.fd.as_fd(), parent)
            .map_err(|errno| Error::io(action, path, errno))?;
        Ok(self.found(Holder::Opened(opened), name))
    }

    fn found<'r>(&'r self, dir: Holder<'r>, name: &'r [u8]) -> Entry<'r> {
        Entry { dir, name, table: self.table.as_deref() }
    }

    /// The same for what makes, renames or removes a name, which the root itself does not have.
    pub(crate) fn named_entry<'r>(
        &'r self,
        action: &'static str,
        path: &'r RootPath,
    ) -> Result<Entry<'r>, Error> {
        if path.is_root() { Err(Error::Root { action }) } else { self.entry(action, path) }
    }
}

fn open_host(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::OpenRoot { path: path.to_owned(), source: errno.into() })
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
