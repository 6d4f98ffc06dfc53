//! [`SharedDir`]: a directory that others may write to as well, such as a cache on a volume.
//!
//! Whoever else writes there may leave links, pipes and half-written files. Nothing below the
//! directory is followed or waited for, and what is written appears whole or not at all. *Does not*
//! believe any content: readers compare it with its digest.

mod write;

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::fs::{UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use crate::blob::create_dir_all;
use crate::error::{Error, Result, failed};
use crate::read::{plain, read_at_most};
pub use write::TemporaryDir;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
const NO_LINK: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// What the kernel says for an owner who has no number here.
const NOBODY: u32 = 65534;

/// An open directory whose entries are not trusted. Paths are relative to it, of plain names.
#[derive(Debug)]
pub struct SharedDir {
    fd: OwnedFd,
    path: PathBuf,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedKind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// What nobody has a use for here: a link, a pipe, a device.
    Other,
}

/// One entry as it was found.
#[derive(Clone, Debug)]
pub struct SharedEntry {
    /// Its name.
    pub name: OsString,
    /// What it is.
    pub kind: SharedKind,
    /// How long the file is.
    pub size: u64,
    /// When it was last written, or [noted](SharedDir::note_use) to be used.
    pub used: SystemTime,
}

/// How a lock is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// With others of this kind.
    Shared,
    /// With nobody.
    Alone,
}

impl SharedDir {
    /// Opens the directory at a path that the user chose: a link there is followed.
    pub fn open(path: &Path) -> Result<Self> {
        let fd = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty());
        let fd = fd.map_err(|errno| failed("open", path)(errno.into()))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The same; nothing where there is none.
    pub fn find(path: &Path) -> Result<Option<Self>> {
        match Self::open(path) {
            Err(error) if error.is_not_found() => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// The same; it is made where it is missing.
    pub fn make(path: &Path) -> Result<Self> {
        create_dir_all(path)?;
        Self::open(path)
    }

    /// A directory below it.
    pub fn subdir(&self, path: &Path) -> Result<Self> {
        let (parent, name) = self.parent(path, Missing::IsAnError)?;
        let fd = rustix::fs::openat(parent.as_fd(), name, DIRECTORY | NO_LINK, Mode::empty());
        let fd = fd.map_err(|errno| self.failed("open", path)(errno.into()))?;
        Ok(Self { fd, path: self.path.join(path) })
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it belongs to another user than root and this one, or anybody may write to it.
    #[must_use]
    pub fn is_open_to_strangers(&self) -> bool {
        let Ok(stat) = rustix::fs::fstat(&self.fd) else { return false };
        let (owner, us) = (stat.st_uid, rustix::process::geteuid().as_raw());
        // An owner who has no number in our user namespace may well be root.
        stat.st_mode & 0o002 != 0 || ![0, us, NOBODY].contains(&owner)
    }

    /// Opens a plain file, and nothing else.
    pub fn open_file(&self, path: &Path) -> Result<File> {
        let (parent, name) = self.parent(path, Missing::IsAnError)?;
        // Without blocking: a pipe has no writer here.
        let flags = NO_LINK | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(parent.as_fd(), name, flags, Mode::empty());
        let fd = fd.map_err(|errno| self.failed("open", path)(errno.into()))?;
        plain(File::from(fd), &self.path.join(path))
    }

    /// Reads a plain file of at most `limit` bytes.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>> {
        read_at_most(self.open_file(path)?, limit, &self.path.join(path))
    }

    /// What is there under a name; `None` where there is nothing.
    pub fn entry(&self, path: &Path) -> Result<Option<SharedEntry>> {
        let found = self.parent(path, Missing::IsAnError).and_then(|(parent, name)| {
            let stat = rustix::fs::statat(parent.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW);
            let stat = stat.map_err(|errno| self.failed("inspect", path)(errno.into()))?;
            Ok(described(name, &stat))
        });
        match found {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// The entries of a directory below (`""` is this one) whose names begin so.
    pub fn list(&self, path: &Path, prefix: &str) -> Result<Vec<SharedEntry>> {
        let below = match path.as_os_str().is_empty() {
            true => None,
            false => Some(self.subdir(path)?),
        };
        let fd = below.as_ref().map_or(self.fd.as_fd(), |below| below.fd.as_fd());
        let cannot = |errno: Errno| self.failed("list", path)(errno.into());
        let mut entries = Vec::new();
        for entry in Dir::read_from(fd).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            let name = os_name(entry.file_name().to_bytes());
            let is_wanted = entry.file_name().to_bytes().starts_with(prefix.as_bytes());
            if !is_wanted || name == OsStr::new(".") || name == OsStr::new("..") {
                continue;
            }
            // What has gone meanwhile is not there.
            if let Ok(stat) = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                entries.push(described(name, &stat));
            }
        }
        Ok(entries)
    }

    /// Notes that a file was used. Where that cannot be written, it only is removed earlier.
    pub fn note_use(&self, path: &Path) {
        let Ok((parent, name)) = self.parent(path, Missing::IsAnError) else { return };
        let kept = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: kept, last_modification: now };
        let _ = rustix::fs::utimensat(parent.as_fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    /// Takes the lock of a file, which is made where it is missing; `None` where somebody has it in
    /// a way that does not go together. Held until the file is closed.
    pub fn lock(&self, path: &Path, sharing: Sharing) -> Result<Option<File>> {
        let (parent, name) = self.parent(path, Missing::IsMade)?;
        let flags = NO_LINK | OFlags::CREATE | OFlags::RDWR | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(parent.as_fd(), name, flags, Mode::from_raw_mode(0o644));
        let file = File::from(fd.map_err(|errno| self.failed("open", path)(errno.into()))?);
        let locked = match sharing {
            Sharing::Shared => file.try_lock_shared(),
            Sharing::Alone => file.try_lock(),
        };
        match locked {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(self.failed("lock", path)(error)),
        }
    }

    /// Removes what is there under a name, with all that is below it; nothing is no error.
    pub fn remove(&self, path: &Path) -> Result<()> {
        let removed = self.parent(path, Missing::IsAnError).and_then(|(parent, name)| {
            match rustix::fs::unlinkat(parent.as_fd(), name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {
                    let below = self.subdir(path)?;
                    for entry in below.list(Path::new(""), "")? {
                        below.remove(Path::new(&entry.name))?;
                    }
                    rustix::fs::unlinkat(parent.as_fd(), name, AtFlags::REMOVEDIR)
                }
                other => other,
            }
            .map_err(|errno| self.failed("remove", path)(errno.into()))
        });
        match removed {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// The directory that a path's last name is in.
    fn parent<'p>(&self, path: &'p Path, missing: Missing) -> Result<(OwnedFd, &'p OsStr)> {
        let cannot = |errno: Errno| self.failed("open", path)(errno.into());
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                _ => return Err(cannot(Errno::INVAL)),
            }
        }
        let Some(last) = names.pop() else { return Err(cannot(Errno::INVAL)) };
        let mut at = self.fd.try_clone().map_err(self.failed("open", path))?;
        for name in names {
            let open = || rustix::fs::openat(&at, name, DIRECTORY | NO_LINK, Mode::empty());
            let mut next = open();
            if matches!(next, Err(Errno::NOENT)) && missing == Missing::IsMade {
                match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => next = open(),
                    Err(errno) => return Err(self.failed("create", path)(errno.into())),
                }
            }
            at = next.map_err(cannot)?;
        }
        Ok((at, last))
    }

    fn failed(&self, action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.path.join(path);
        move |source| Error::Io { action, path, source }
    }
}

/// What is done about a directory that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsAnError,
    IsMade,
}

fn os_name(bytes: &[u8]) -> &OsStr {
    use std::os::unix::ffi::OsStrExt as _;
    OsStr::from_bytes(bytes)
}

fn described(name: &OsStr, stat: &rustix::fs::Stat) -> SharedEntry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => SharedKind::File,
        FileType::Directory => SharedKind::Directory,
        _ => SharedKind::Other,
    };
    let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
    let nanos = Duration::from_nanos(stat.st_mtime_nsec);
    let used = SystemTime::UNIX_EPOCH.checked_add(seconds + nanos);
    let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
    SharedEntry {
        name: name.to_owned(),
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        used,
    }
}
