//! Making, renaming and removing single names of a root.
//!
//! Modes are exact: neither the umask nor a directory's setgid bit has a say, because layers must
//! not depend on either.

use std::fs::File;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::dir::RootDir;
use crate::error::Error;
use crate::metadata::{FileKind, Metadata};
use crate::path::RootPath;
use crate::resolve::{Last, Missing};
use crate::table::{DISK_DIRECTORY, DISK_FILE, Made};

impl RootDir {
    /// Makes a directory. Something there already, be it a directory, is an error.
    pub fn create_dir(&self, path: &RootPath, mode: u32) -> Result<(), Error> {
        let failed = |errno| Error::io("create the directory", path, errno);
        let entry = self.named_entry("create the directory", path)?;
        let on_disk = if self.table.is_some() { DISK_DIRECTORY } else { mode & 0o1777 };
        rustix::fs::mkdirat(&entry.dir, entry.name, Mode::from_raw_mode(on_disk))
            .map_err(failed)?;
        match &self.table {
            Some(table) => {
                let made = Made { kind: FileKind::Directory, mode, rdev: (0, 0) };
                entry.born(table, &made).map_err(failed)
            }
            None => self.correct_mode(path, mode),
        }
    }

    /// Makes the missing directories of `path`, following links inside the root on the way.
    /// Returns those it made, resolved, from the top down.
    pub fn create_dir_all(&self, path: &RootPath, mode: u32) -> Result<Vec<RootPath>, Error> {
        let (resolved, existing) = self.follow(path, Last::Follow, Missing::Keep)?;
        let missing: Vec<RootPath> = resolved.ancestors().skip(existing + 1).collect();
        if missing.is_empty() && !self.metadata(&resolved)?.is_dir() {
            return Err(Error::io("create the directory", path, Errno::NOTDIR));
        }
        let mut made = Vec::with_capacity(missing.len());
        for directory in missing {
            match self.create_dir(&directory, mode) {
                Ok(()) => made.push(directory),
                // Somebody else was faster.
                Err(error) if error.is_already_exists() && self.metadata(&directory)?.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Makes an empty regular file, open for reading and writing. Something there already, be it
    /// a dangling link, is an error.
    pub fn create_file(&self, path: &RootPath, mode: u32) -> Result<File, Error> {
        let failed = |errno| Error::io("create", path, errno);
        let entry = self.named_entry("create", path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let on_disk = if self.table.is_some() { DISK_FILE } else { mode & 0o7777 };
        let wanted = Mode::from_raw_mode(on_disk);
        let fd = rustix::fs::openat(&entry.dir, entry.name, flags, wanted).map_err(failed)?;
        if let Some(table) = &self.table {
            let made = Made { kind: FileKind::File, mode, rdev: (0, 0) };
            entry.born(table, &made).map_err(failed)?;
        } else if Metadata::at(&fd, "").map_err(failed)?.mode != mode & 0o7777 {
            rustix::fs::fchmod(&fd, wanted).map_err(failed)?;
        }
        Ok(File::from(fd))
    }

    /// Makes an empty regular file without a name, for reading and writing; it is gone when it is
    /// closed.
    pub fn nameless_file(&self) -> Result<File, Error> {
        let failed = |errno| Error::io("create a file in", &RootPath::root(), errno);
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(self, ".", flags | OFlags::TMPFILE, mode) {
            Ok(fd) => return Ok(File::from(fd)),
            // Not on every file system; kernels that do not know the flag see a directory.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(errno) => return Err(failed(errno)),
        }
        // With a name for a moment, and the directory's time as it was.
        let before = self.metadata(&RootPath::root())?;
        let name = format!(".kaniko-{}-{:?}", std::process::id(), std::thread::current().id());
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(self, &name, flags, mode).map_err(failed)?;
        rustix::fs::unlinkat(self, &name, AtFlags::empty()).map_err(failed)?;
        self.set_times(&RootPath::root(), before.mtime)?;
        Ok(File::from(fd))
    }

    /// Makes a link that says `target`, whatever is or is not there.
    pub fn symlink(&self, path: &RootPath, target: &[u8]) -> Result<(), Error> {
        let failed = |errno| Error::io("create the link", path, errno);
        let entry = self.named_entry("create the link", path)?;
        rustix::fs::symlinkat(target, &entry.dir, entry.name).map_err(failed)?;
        match &self.table {
            Some(table) => {
                let made = Made { kind: FileKind::Symlink, mode: 0o777, rdev: (0, 0) };
                entry.born(table, &made).map_err(failed)
            }
            None => Ok(()),
        }
    }

    /// Gives the file `old` the additional name `new`. A symbolic link is linked itself.
    pub fn hard_link(&self, old: &RootPath, new: &RootPath) -> Result<(), Error> {
        let from = self.named_entry("link to", old)?;
        let to = self.named_entry("create the hard link", new)?;
        rustix::fs::linkat(&from.dir, from.name, &to.dir, to.name, AtFlags::empty())
            .map_err(|errno| Error::io("create the hard link", new, errno))
    }

    /// Makes a FIFO, a socket or a device node.
    pub fn mknod(
        &self,
        path: &RootPath,
        kind: FileKind,
        mode: u32,
        rdev: (u32, u32),
    ) -> Result<(), Error> {
        let device = match kind {
            FileKind::BlockDevice | FileKind::CharDevice => rustix::fs::makedev(rdev.0, rdev.1),
            FileKind::Fifo | FileKind::Socket => 0,
            FileKind::File | FileKind::Directory | FileKind::Symlink => {
                return Err(Error::io("create the node", path, Errno::INVAL));
            }
        };
        let failed = |errno| Error::io("create the node", path, errno);
        let entry = self.named_entry("create the node", path)?;
        if let Some(table) = &self.table {
            // Only root can make devices; of the others none is opened either.
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let on_disk = Mode::from_raw_mode(DISK_FILE);
            drop(rustix::fs::openat(&entry.dir, entry.name, flags, on_disk).map_err(failed)?);
            return entry.born(table, &Made { kind, mode, rdev }).map_err(failed);
        }
        let wanted = Mode::from_raw_mode(mode & 0o7777);
        rustix::fs::mknodat(&entry.dir, entry.name, kind.to_type(), wanted, device)
            .map_err(failed)?;
        self.correct_mode(path, mode)
    }

    /// Removes a file of any kind or an empty directory.
    pub fn remove(&self, path: &RootPath) -> Result<(), Error> {
        let entry = self.named_entry("remove", path)?;
        match rustix::fs::unlinkat(&entry.dir, entry.name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&entry.dir, entry.name, AtFlags::REMOVEDIR),
            answer => answer,
        }
        .map_err(|errno| Error::io("remove", path, errno))
    }

    /// Gives `old` the name `new`, replacing what the kernel lets it replace.
    pub fn rename(&self, old: &RootPath, new: &RootPath) -> Result<(), Error> {
        let from = self.named_entry("rename", old)?;
        let to = self.named_entry("rename to", new)?;
        rustix::fs::renameat(&from.dir, from.name, &to.dir, to.name)
            .map_err(|errno| Error::io("rename", old, errno))
    }

    fn correct_mode(&self, path: &RootPath, mode: u32) -> Result<(), Error> {
        if self.metadata(path)?.mode == mode & 0o7777 {
            return Ok(());
        }
        self.set_mode(path, mode)
    }
}
