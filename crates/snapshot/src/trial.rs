//! Whether the times that a file system tells can be trusted, found by trying.
//!
//! They cannot everywhere. On a tmpfs (and an overlay whose upper directory is on one) a write
//! through a shared mapping that was read first moves no time at all: the kernel asks only file
//! systems that write back. On a network file system the times may be those of another machine's
//! clock, and a file that was written just now does not look recent.
//!
//! The name of a file system does not tell: an overlay is called `overlay` whatever is below it,
//! and a pod cannot see where that is. So one file without a name is written in both ways.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use rootfs::{RootDir, Timestamp};
use rustix::fs::{Timespec, Timestamps};
use sys::SharedMapping;

use crate::clock::ScanStart;

/// Whether every change of a file in this root moves its times, by the clock of this machine.
/// Where that cannot be tried (a root that is full or read-only), the answer is no, which is
/// always right and only slow.
pub(crate) fn tells_every_write(root: &RootDir) -> bool {
    root.nameless_file().is_ok_and(|file| try_both(&file).unwrap_or(false))
}

fn try_both(file: &File) -> io::Result<bool> {
    let start = ScanStart::now();
    file.write_all_at(b"written", 0)?;
    let found = file.metadata()?;
    let ctime = Timestamp {
        secs: found.ctime(),
        nanos: u32::try_from(found.ctime_nsec()).unwrap_or_default(),
    };
    if !start.is_now(ctime) {
        return Ok(false);
    }
    // A time that only we can have set, because within one tick of the clock a new time is equal
    // to the old one.
    let time = Timespec { tv_sec: 1, tv_nsec: 0 };
    rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?;
    let mut mapping = SharedMapping::new(file, 1)?;
    let first = mapping.read(0);
    mapping.write(0, first.map_or(0, |byte| !byte));
    drop(mapping);
    Ok(file.metadata()?.mtime() != 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{ScratchRoot, require_root};

    #[test]
    fn root_a_tmpfs_does_not_tell_and_a_disk_does() {
        if !require_root("a tmpfs") {
            return;
        }
        let root = |scratch: &ScratchRoot| RootDir::open(scratch.path()).expect("it is there");
        testkit::in_private_mounts(|| {
            let scratch = ScratchRoot::new();
            testkit::mount_tmpfs(scratch.path());
            assert!(!tells_every_write(&root(&scratch)));
            let names = root(&scratch).read_dir(&rootfs::RootPath::root());
            assert!(names.expect("because it can be listed").is_empty(), "nothing is left");
        });
        // Whatever the temporary directory is on, an overlay over it is no better and no worse.
        let scratch = ScratchRoot::new();
        let below = tells_every_write(&root(&scratch));
        testkit::in_private_mounts(|| {
            if testkit::mount_overlay(scratch.path()) {
                let merged = RootDir::open(&scratch.path().join("merged")).expect("it is there");
                assert_eq!(tells_every_write(&merged), below);
            }
        });
    }

    #[test]
    fn root_what_cannot_be_tried_is_not_trusted() {
        if !require_root("a read-only mount") {
            return;
        }
        testkit::in_private_mounts(|| {
            let scratch = ScratchRoot::new();
            testkit::mount_bind(scratch.path(), scratch.path());
            let flags = rustix::mount::MountFlags::RDONLY | rustix::mount::MountFlags::BIND;
            rustix::mount::mount_remount(scratch.path(), flags, "").expect("because we are root");
            let root = RootDir::open(scratch.path()).expect("because it is there");
            assert!(!tells_every_write(&root));
        });
    }
}
