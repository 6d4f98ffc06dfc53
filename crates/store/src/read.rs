//! Reading files by their paths where others may have put them: a cache volume, a layout.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Result, failed};

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

pub(crate) fn read_at_most(file: File, limit: u64, path: &Path) -> Result<Vec<u8>> {
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

pub(crate) fn plain(file: File, path: &Path) -> Result<File> {
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
}
