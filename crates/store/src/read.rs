//! Reading files of directories that others may have filled: a cache volume, a layout.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};

use crate::error::{Result, failed};

/// A directory that others may have filled, known by its descriptor: it stays the same whatever becomes
/// of its name, and no link leads out of it.
#[derive(Clone, Debug)]
pub struct ForeignDirectory {
    descriptor: Arc<OwnedFd>,
    path: PathBuf,
}

impl ForeignDirectory {
    /// Opens a directory, which must not be a link.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(CWD, path, flags, Mode::empty());
        let descriptor = descriptor.map_err(|errno| failed("open", path)(errno.into()))?;
        Ok(Self { descriptor: Arc::new(descriptor), path: path.to_owned() })
    }

    /// Opens a plain file below it; no part of the name may be a link.
    pub fn open_file(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        let open = |errno: rustix::io::Errno| failed("open", &path)(errno.into());
        let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
        let mut directory = Arc::clone(&self.descriptor);
        for part in above.split('/').filter(|part| !part.is_empty()) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(&directory, part, flags, Mode::empty());
            directory = Arc::new(opened.map_err(open)?);
        }
        // Without blocking: a FIFO has no writer here.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, last, flags, Mode::empty()).map_err(open)?;
        plain(File::from(file), &path)
    }

    /// Reads a plain file below it, of at most `limit` bytes.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        read_at_most(self.open_file(name)?, limit, &self.path.join(name))
    }
}

/// Whether everybody may write to a directory that is another user's: whatever is in it may have been
/// put there by anybody.
pub fn is_open_to_others(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o002 != 0 && found.uid() != own)
}

/// Reads a plain file of at most `limit` bytes. A link, a FIFO, a device, or a longer file is an
/// error: it was put there to mislead.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_at_most(open_regular(path)?, limit, path)
}

fn read_at_most(file: File, limit: u64, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(failed("read", path)(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

/// Opens a plain file for reading, and nothing else.
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    // Without blocking: a FIFO has no writer here.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("because open flags are small");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    plain(file.map_err(failed("open", path))?, path)
}

fn plain(file: File, path: &Path) -> Result<File> {
    if !file.metadata().map_err(failed("inspect", path))?.is_file() {
        return Err(failed("open", path)(io::Error::other("it is no plain file")));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use testkit::ScratchRoot;

    use super::*;

    #[test]
    fn only_plain_short_files_are_read() {
        let scratch = ScratchRoot::with("f 0644 /good \"text\"\nl 0777 /link -> good\n");
        let check = |name: &str, limit: u64, expected: Option<&[u8]>| {
            let found = read_file(&scratch.path().join(name), limit).ok();
            assert_eq!(found.as_deref(), expected, "{name}");
        };
        check("good", 4, Some(b"text"));
        check("good", 3, None);
        check("link", 4, None);
        check("gone", 4, None);
        check("", 4, None);
    }

    #[test]
    fn a_foreign_directory_has_no_way_out() {
        let scratch = ScratchRoot::with(
            "d 0755 /a\nd 0755 /a/b\nf 0644 /a/b/good \"text\"\nf 0644 /out \"x\"\n\
             l 0777 /a/up -> ..\nl 0777 /a/b/link -> good\nl 0777 /also -> a\n",
        );
        let path = |name: &str| scratch.path().join(name);
        assert!(ForeignDirectory::open(&path("also")).is_err());
        let directory = ForeignDirectory::open(&path("a")).expect("because it is a directory");
        let fifo = rustix::fs::mknodat(
            CWD,
            path("a/fifo"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o644),
            0,
        );
        fifo.expect("because the directory is ours");
        let check = |name: &str, expected: Option<&[u8]>| {
            let found = directory.read(name, 4).ok();
            assert_eq!(found.as_deref(), expected, "{name}");
        };
        check("b/good", Some(b"text"));
        check("b/link", None);
        check("up/out", None);
        check("b", None);
        check("fifo", None);
        check("gone", None);
        std::fs::rename(path("a"), path("c")).expect("because the directory is ours");
        check("b/good", Some(b"text"));
    }
}
