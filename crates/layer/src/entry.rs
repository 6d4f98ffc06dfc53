//! [`Entry`]: one member of an archive, whatever dialect of tar it was or will be written in.

use rootfs::{Timestamp, Xattrs};

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// With its target, as written.
    Symlink(Vec<u8>),
    /// With the name of the earlier member, as written.
    HardLink(Vec<u8>),
    Fifo,
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
}

/// One member: its name as it stands in the archive, and what it says of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    /// The permission bits, with set-id and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    /// The bytes of the file, holes included; 0 for all that is no file.
    pub(crate) size: u64,
    pub(crate) xattrs: Xattrs,
}
