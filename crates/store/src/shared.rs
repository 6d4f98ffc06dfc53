//! [`SharedDir`]: a directory that others may write to as well, such as a cache on a volume.
//!
//! Whoever else writes there may leave links, pipes and half-written files. Nothing below the
//! directory is followed or waited for, and what is written appears whole or not at all. *Does not*
//! believe any content: readers compare it with its digest.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use oci::Descriptor;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::fs::{UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use crate::blob::create_dir_all;
use crate::error::{Error, Result, failed};
use crate::verified::Verified;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
const NO_LINK: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// A temporary name that is younger may belong to somebody who has not locked it yet.
const YOUNG: Duration = Duration::from_secs(60);
/// One that is older belongs to nobody, also where locks do not work.
const OLD: Duration = Duration::from_secs(24 * 3600);

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
        stat.st_mode & 0o002 != 0 || (owner != 0 && owner != us)
    }

    /// Opens a plain file, and nothing else.
    pub fn open_file(&self, path: &Path) -> Result<File> {
        let (parent, name) = self.parent(path, Missing::IsAnError)?;
        // Without blocking: a pipe has no writer here.
        let flags = NO_LINK | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(parent.as_fd(), name, flags, Mode::empty());
        let file = File::from(fd.map_err(|errno| self.failed("open", path)(errno.into()))?);
        if !file.metadata().map_err(self.failed("inspect", path))?.is_file() {
            return Err(self.failed("open", path)(io::Error::other("it is no plain file")));
        }
        Ok(file)
    }

    /// Reads a plain file of at most `limit` bytes.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>> {
        let file = self.open_file(path)?;
        let mut bytes = Vec::new();
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(self.failed("read", path))?;
        if bytes.len() as u64 > limit {
            return Err(self.failed("read", path)(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(bytes)
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

    /// Writes a file at once, over whatever has its name. Until then it is in the directory
    /// `temporary`, locked, so that [`SharedDir::sweep`] can tell it from what the dead left.
    pub fn write(&self, temporary: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
        self.replace(temporary, path, |file| file.write_all(bytes))
    }

    /// The same with the bytes that a descriptor promises; others are an error.
    pub fn copy_in(
        &self,
        temporary: &Path,
        path: &Path,
        from: File,
        promised: &Descriptor,
    ) -> Result<()> {
        self.replace(temporary, path, |file| copy(from, promised, file))
    }

    fn replace(
        &self,
        temporary: &Path,
        path: &Path,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<()> {
        let (parent, name) = self.parent(path, Missing::IsMade)?;
        let (mut file, hidden) = self.temporary_file(temporary)?;
        let hidden = Hidden { directory: self, path: hidden };
        let written = write(&mut file).and_then(|()| file.sync_all());
        written.map_err(self.failed("write", path))?;
        let (from, hidden_name) = self.parent(&hidden.path, Missing::IsAnError)?;
        rustix::fs::renameat(from.as_fd(), hidden_name, parent.as_fd(), name)
            .map_err(|errno| self.failed("rename to", path)(errno.into()))?;
        self.sync(&parent, path)
    }

    fn temporary_file(&self, directory: &Path) -> Result<(File, PathBuf)> {
        loop {
            let path = directory.join(unique(""));
            match self.create(&path) {
                Ok(file) => {
                    // Where locks do not work, age tells.
                    let _ = file.try_lock();
                    return Ok((file, path));
                }
                // Another pid namespace may use the same numbers.
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes a file that is not there, and the directories above it.
    fn create(&self, path: &Path) -> Result<File> {
        let (parent, name) = self.parent(path, Missing::IsMade)?;
        let flags = NO_LINK | OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let fd = rustix::fs::openat(parent.as_fd(), name, flags, Mode::from_raw_mode(0o644));
        Ok(File::from(fd.map_err(|errno| self.failed("create", path)(errno.into()))?))
    }

    /// Writes a new file into a directory that nobody else knows yet.
    pub fn write_new(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(path)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(self.failed("write", path))
    }

    /// The same with the bytes that a descriptor promises; others are an error.
    pub fn copy_new(&self, path: &Path, from: File, promised: &Descriptor) -> Result<()> {
        let mut file = self.create(path)?;
        let written = copy(from, promised, &mut file).and_then(|()| file.sync_all());
        written.map_err(self.failed("write", path))
    }

    /// Makes the names in a directory below last (`""` is this one).
    pub fn sync_names(&self, path: &Path) -> Result<()> {
        if path.as_os_str().is_empty() {
            return self.sync(&self.fd, path);
        }
        self.sync(&self.subdir(path)?.fd, path)
    }

    /// A new directory whose name is `prefix` and something, locked while the answer lives.
    pub fn temporary_directory(&self, prefix: &OsStr) -> Result<TemporaryDir<'_>> {
        loop {
            let name = unique(prefix);
            match rustix::fs::mkdirat(self.fd.as_fd(), &name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(self.failed("create", Path::new(&name))(errno.into())),
            }
            let hidden = Hidden { directory: self, path: PathBuf::from(name) };
            let opened = self.subdir(&hidden.path)?;
            let lock = opened.fd.try_clone().map_err(self.failed("lock", &hidden.path))?;
            let _ = File::from(lock).try_lock();
            return Ok(TemporaryDir { opened, hidden });
        }
    }

    /// Removes entries of a directory below (`""` is this one) that begin with `prefix` and whose
    /// writers are dead: nobody has them locked, and they are not from this minute. Needs a moment
    /// to compare with, as the directory's own clock has it; returns how many went.
    pub fn sweep(&self, directory: &Path, prefix: &str, now: SystemTime) -> Result<usize> {
        let mut swept = 0;
        for entry in self.list(directory, prefix)? {
            let age = now.duration_since(entry.used).unwrap_or_default();
            let path = directory.join(&entry.name);
            if age > YOUNG && (age > OLD || !self.is_locked(&path, entry.kind)) {
                self.remove(&path)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn is_locked(&self, path: &Path, kind: SharedKind) -> bool {
        let file = match kind {
            SharedKind::File => self.open_file(path).ok(),
            SharedKind::Directory => self.subdir(path).ok().map(|opened| File::from(opened.fd)),
            SharedKind::Other => return false,
        };
        // What cannot be asked is left to its age.
        file.is_none_or(|file| file.try_lock().is_err())
    }

    /// The moment that the file system gives to what is written now.
    pub fn now(&self, temporary: &Path) -> Result<SystemTime> {
        let (file, hidden) = self.temporary_file(temporary)?;
        let _hidden = Hidden { directory: self, path: hidden };
        file.metadata()
            .and_then(|found| found.modified())
            .map_err(self.failed("inspect", temporary))
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

    /// Gives a directory of this one another name, in exchange for whatever has that name.
    fn exchange(&self, from: &Path, to: &Path) -> Result<()> {
        let rename = |flags| rustix::fs::renameat_with(&self.fd, from, &self.fd, to, flags);
        let cannot = |errno: Errno| self.failed("rename to", to)(errno.into());
        // Two who do this at a time may take what the other one has just seen.
        for _ in 0..100 {
            match rename(RenameFlags::NOREPLACE) {
                Ok(()) => return self.sync(&self.fd, to),
                Err(Errno::EXIST) => {}
                // The file system has no such calls: there is a moment without either.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    self.remove(to)?;
                    let renamed = rustix::fs::renameat(&self.fd, from, &self.fd, to);
                    renamed.map_err(cannot)?;
                    return self.sync(&self.fd, to);
                }
                Err(errno) => return Err(cannot(errno)),
            }
            match rename(RenameFlags::EXCHANGE) {
                Ok(()) => return self.sync(&self.fd, to),
                Err(Errno::NOENT) => {}
                Err(Errno::INVAL | Errno::NOSYS) => self.remove(to)?,
                Err(errno) => return Err(cannot(errno)),
            }
        }
        Err(cannot(Errno::BUSY))
    }

    fn sync(&self, directory: impl AsFd, path: &Path) -> Result<()> {
        match rustix::fs::fsync(directory) {
            // Some file systems cannot sync a directory; then there is nothing more to be had.
            Err(Errno::INVAL) => Ok(()),
            other => other.map_err(|errno| self.failed("sync", path)(errno.into())),
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

/// A directory that is being filled; dropped, it is gone with all that is in it.
#[derive(Debug)]
pub struct TemporaryDir<'d> {
    opened: SharedDir,
    hidden: Hidden<'d>,
}

impl TemporaryDir<'_> {
    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &SharedDir {
        &self.opened
    }

    /// When it was last written to, as the file system has it: what it thinks is now.
    pub fn made(&self) -> Result<SystemTime> {
        let stat = rustix::fs::fstat(&self.opened.fd);
        let stat = stat.map_err(|errno| self.opened.failed("inspect", Path::new(""))(errno.into()));
        Ok(described(OsStr::new(""), &stat?).used)
    }

    /// Puts it in its place at once; what was there is removed.
    pub fn place(self, name: &Path) -> Result<()> {
        self.hidden.directory.exchange(&self.hidden.path, name)
    }
}

/// A name that is removed when dropped: of what is not finished, or was replaced.
#[derive(Debug)]
struct Hidden<'d> {
    directory: &'d SharedDir,
    path: PathBuf,
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // If it stays, a sweep removes it.
        let _ = self.directory.remove(&self.path);
    }
}

/// A name that no other file of this program has.
fn unique(prefix: impl AsRef<OsStr>) -> OsString {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = prefix.as_ref().to_owned();
    name.push(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    name
}

fn copy(from: File, promised: &Descriptor, to: &mut File) -> io::Result<()> {
    // One byte more than there should be tells that there is too much.
    let limit = promised.size.saturating_add(1);
    io::copy(&mut Verified::new(from.take(limit), promised), to).map(drop)
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
