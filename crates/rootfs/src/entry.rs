//! A name in an open directory: what every operation on one path of a root comes down to.
//!
//! The directory was reached inside the root (see `resolve`); the name is never followed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::metadata::{FileKind, Metadata};
use crate::table::{AttributeTable, Made};

/// The directory that holds a name.
#[derive(Debug)]
pub(crate) enum Holder<'r> {
    /// The root: already open.
    Root(BorrowedFd<'r>),
    /// One below it.
    Opened(OwnedFd),
}

impl AsFd for Holder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Holder::Root(fd) => fd.as_fd(),
            Holder::Opened(fd) => fd.as_fd(),
        }
    }
}

/// A name in an open directory. The root itself is `.` in the root.
#[derive(Debug)]
pub(crate) struct Entry<'r> {
    pub(crate) dir: Holder<'r>,
    pub(crate) name: &'r [u8],
    /// Where attributes stand that the disk cannot be told.
    pub(crate) table: Option<&'r AttributeTable>,
}

impl Entry<'_> {
    pub(crate) fn metadata(&self) -> Result<Metadata, Errno> {
        complete(self.table, Metadata::at(&self.dir, self.name))
    }

    /// About what was opened by way of this entry, or made there.
    pub(crate) fn about(&self, opened: impl AsFd) -> Result<Metadata, Errno> {
        complete(self.table, Metadata::at(opened, ""))
    }

    /// The same without the table.
    pub(crate) fn on_disk(&self) -> Result<Metadata, Errno> {
        Metadata::at(&self.dir, self.name)
    }

    /// Notes in the table what was just made here.
    pub(crate) fn born(&self, table: &AttributeTable, made: &Made) -> Result<(), Errno> {
        table.born(&self.on_disk()?, &Metadata::at(&self.dir, "")?, made);
        Ok(())
    }

    /// Opens without following, blocking, or becoming anybody's terminal.
    pub(crate) fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_at(self.dir.as_fd(), self.name, flags)
    }

    /// Opens as a mere reference.
    pub(crate) fn reference(&self) -> Result<OwnedFd, Errno> {
        self.open(OFlags::PATH)
    }

    /// Opens a file or a directory for reading: the kinds whose opening has no side effect.
    pub(crate) fn open_readable(&self, kind: FileKind) -> Result<Option<OwnedFd>, Errno> {
        if !matches!(kind, FileKind::File | FileKind::Directory) {
            return Ok(None);
        }
        let fd = self.open(OFlags::RDONLY)?;
        let found = Metadata::at(&fd, "")?;
        Ok((found.kind == kind).then_some(fd))
    }
}

/// What the kernel says of a file, with what the table says better.
pub(crate) fn complete(
    table: Option<&AttributeTable>,
    on_disk: Result<Metadata, Errno>,
) -> Result<Metadata, Errno> {
    match table {
        Some(table) => table.complete(on_disk?),
        None => on_disk,
    }
}

pub(crate) fn open_at(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let safe = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = if flags.contains(OFlags::PATH) {
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC
    } else {
        flags | safe
    };
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// The path under which the kernel knows an open descriptor of ours, for the calls that take only
/// paths. `None` where no proc file system is mounted: what lies at `/proc` then is anybody's.
pub(crate) fn path_of(fd: &OwnedFd) -> Option<String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/self/fd", flags, Mode::empty()).ok()?;
    let found = rustix::fs::fstatfs(&own).ok()?;
    (found.f_type == rustix::fs::PROC_SUPER_MAGIC)
        .then(|| format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// One name as the kernel lists it, with its kind where the file system tells.
pub(crate) struct Listed<'n> {
    pub(crate) name: &'n [u8],
    pub(crate) kind: Option<FileKind>,
}

/// Calls `each` for every name in the directory but `.` and `..`, in the kernel's order. `each`
/// says whether to go on.
pub(crate) fn list<E: From<Errno>>(
    directory: &OwnedFd,
    mut each: impl FnMut(Listed<'_>) -> Result<bool, E>,
) -> Result<(), E> {
    let mut buffer: Vec<u8> = Vec::with_capacity(32 * 1024);
    let mut names = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(next) = names.next() {
        let entry = match next {
            Ok(entry) => entry,
            // The directory itself was removed while we read it: it is empty.
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno.into()),
        };
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if !each(Listed { name, kind: FileKind::from_type(entry.file_type()) })? {
            break;
        }
    }
    Ok(())
}
