//! Writing into a [`SharedDir`]: under a temporary name, locked by its writer, until it is whole.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use oci::Descriptor;
use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Missing, NO_LINK, SharedDir, SharedKind, described};
use crate::error::Result;
use crate::verified::Verified;

/// A temporary name that is younger may belong to somebody who has not locked it yet.
const YOUNG: Duration = Duration::from_secs(60);
/// One that is older belongs to nobody, also where locks do not work.
const OLD: Duration = Duration::from_secs(24 * 3600);

impl SharedDir {
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
        let rename = || rustix::fs::renameat(from.as_fd(), hidden_name, parent.as_fd(), name);
        let renamed = match rename() {
            // Somebody has put a directory under a name that is not theirs.
            Err(Errno::ISDIR) => {
                self.remove(path)?;
                rename()
            }
            other => other,
        };
        renamed.map_err(|errno| self.failed("rename to", path)(errno.into()))?;
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

    /// Removes an entry of this directory so that nobody sees it half: it first loses its name for one
    /// that begins with `prefix`.
    pub fn discard(&self, path: &Path, prefix: &OsStr) -> Result<()> {
        let hidden = Hidden { directory: self, path: PathBuf::from(unique(prefix)) };
        let renamed = rustix::fs::renameat(&self.fd, path, &self.fd, &hidden.path);
        match renamed {
            Ok(()) => self.remove(&hidden.path),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("remove", path)(errno.into())),
        }
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
