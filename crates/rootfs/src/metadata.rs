//! What the kernel says about one file: kind, mode, owner, size, times, identity.

use rustix::fs::{AtFlags, FileType, Mode, StatxFlags};
use rustix::io::Errno;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket, which no layer can hold.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
}

impl FileKind {
    pub(crate) fn from_type(kind: FileType) -> Option<FileKind> {
        Some(match kind {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::BlockDevice => FileKind::BlockDevice,
            FileType::CharacterDevice => FileKind::CharDevice,
            FileType::Unknown => return None,
        })
    }

    pub(crate) fn to_type(self) -> FileType {
        match self {
            FileKind::File => FileType::RegularFile,
            FileKind::Directory => FileType::Directory,
            FileKind::Symlink => FileType::Symlink,
            FileKind::Fifo => FileType::Fifo,
            FileKind::Socket => FileType::Socket,
            FileKind::BlockDevice => FileType::BlockDevice,
            FileKind::CharDevice => FileType::CharacterDevice,
        }
    }
}

/// A moment, to the nanosecond, since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds, negative before 1970.
    pub secs: i64,
    /// Nanoseconds on top, below 1,000,000,000.
    pub nanos: u32,
}

impl Timestamp {
    /// A moment on a whole second.
    #[must_use]
    pub fn from_secs(secs: i64) -> Timestamp {
        Timestamp { secs, nanos: 0 }
    }
}

/// What the kernel says about one file (not about what a link leads to).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky: `0o7777`.
    pub mode: u32,
    /// The owning user.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// Bytes of content, or of a link's target.
    pub size: u64,
    /// 512-byte blocks on disk: fewer than `size` needs for a sparse file.
    pub blocks: u64,
    /// Major and minor number of a device node.
    pub rdev: (u32, u32),
    /// When the content last changed.
    pub mtime: Timestamp,
    /// When anything about it last changed; cannot be set.
    pub ctime: Timestamp,
    /// The inode's number.
    pub ino: u64,
    /// Major and minor number of the file system it is on.
    pub dev: (u32, u32),
    /// How many names it has.
    pub nlink: u64,
    /// The mount it was reached through, where the kernel tells.
    pub mount_id: Option<u64>,
}

impl Metadata {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Directory
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::File
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.kind == FileKind::Symlink
    }

    /// Whether both were reached through the same mount, as far as the kernel tells: by mount id,
    /// else by file system.
    #[must_use]
    pub fn is_on_mount_of(&self, other: &Metadata) -> bool {
        self.mount_id == other.mount_id && (self.mount_id.is_some() || self.dev == other.dev)
    }

    /// Whether this is the same file, not written in between as far as the kernel tells: a time
    /// that was set back moves the ctime.
    #[must_use]
    pub fn is_same_content_as(&self, earlier: &Metadata) -> bool {
        (self.dev, self.ino, self.size) == (earlier.dev, earlier.ino, earlier.size)
            && (self.mtime, self.ctime) == (earlier.mtime, earlier.ctime)
    }

    /// What the kernel says about `name` in the directory `dir`; nothing is followed.
    pub(crate) fn at(
        dir: impl std::os::fd::AsFd,
        name: impl rustix::path::Arg + Copy,
    ) -> Result<Metadata, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        match rustix::fs::statx(&dir, name, flags, wanted) {
            Ok(found) => Metadata::from_statx(&found),
            // Old kernels and some sandboxes have no statx; they do not tell mounts apart either.
            Err(Errno::NOSYS) => {
                let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
                Metadata::from_stat(&rustix::fs::statat(&dir, name, flags)?)
            }
            Err(errno) => Err(errno),
        }
    }

    fn from_statx(found: &rustix::fs::Statx) -> Result<Metadata, Errno> {
        let mode = u32::from(found.stx_mode);
        let kind = FileKind::from_type(FileType::from_raw_mode(mode)).ok_or(Errno::INVAL)?;
        let time = |time: &rustix::fs::StatxTimestamp| Timestamp {
            secs: time.tv_sec,
            nanos: time.tv_nsec,
        };
        let mount_known = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Ok(Metadata {
            kind,
            mode: mode & 0o7777,
            uid: found.stx_uid,
            gid: found.stx_gid,
            size: found.stx_size,
            blocks: found.stx_blocks,
            rdev: (found.stx_rdev_major, found.stx_rdev_minor),
            mtime: time(&found.stx_mtime),
            ctime: time(&found.stx_ctime),
            ino: found.stx_ino,
            dev: (found.stx_dev_major, found.stx_dev_minor),
            nlink: u64::from(found.stx_nlink),
            mount_id: mount_known.then_some(found.stx_mnt_id),
        })
    }

    fn from_stat(found: &rustix::fs::Stat) -> Result<Metadata, Errno> {
        let mode = found.st_mode;
        let kind = FileKind::from_type(FileType::from_raw_mode(mode)).ok_or(Errno::INVAL)?;
        let device = |dev: u64| (rustix::fs::major(dev), rustix::fs::minor(dev));
        let time = |secs: i64, nanos: u64| Timestamp {
            secs,
            nanos: u32::try_from(nanos).unwrap_or_default(),
        };
        Ok(Metadata {
            kind,
            mode: Mode::from_raw_mode(mode).bits() & 0o7777,
            uid: found.st_uid,
            gid: found.st_gid,
            size: u64::try_from(found.st_size).unwrap_or_default(),
            blocks: u64::try_from(found.st_blocks).unwrap_or_default(),
            rdev: device(found.st_rdev),
            mtime: time(found.st_mtime, found.st_mtime_nsec),
            ctime: time(found.st_ctime, found.st_ctime_nsec),
            ino: found.st_ino,
            dev: device(found.st_dev),
            nlink: found.st_nlink,
            mount_id: None,
        })
    }
}
