//! Copying what is in a file: cheaply where the kernel can, and holes stay holes.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::error::Error;
use crate::metadata::Metadata;

/// Bytes a buffer holds where the kernel cannot copy by itself.
const CHUNK: usize = 256 * 1024;

/// Copies the whole content of `from` into the empty file `to` and returns its size.
///
/// Extents are shared where the file system can, else the kernel copies, else we do. A file whose
/// size or modification time moves meanwhile is an error: nobody could say what was copied. The
/// positions of both files are not used but may move.
pub fn copy_file_contents(from: &File, to: &File) -> Result<u64, Error> {
    let before = Metadata::at(from, "").map_err(|errno| failed("read", errno))?;
    if before.size > 0 && rustix::fs::ioctl_ficlone(to, from).is_err() {
        copy_segments(from, to, &before)?;
        rustix::fs::ftruncate(to, before.size).map_err(|errno| failed("write", errno))?;
    }
    let after = Metadata::at(from, "").map_err(|errno| failed("read", errno))?;
    if (after.size, after.mtime) != (before.size, before.mtime) {
        return Err(Error::ChangedWhileRead { expected: before.size, found: after.size });
    }
    Ok(before.size)
}

fn failed(action: &'static str, errno: Errno) -> Error {
    Error::Content { action, source: errno.into() }
}

/// Copies what is between the holes.
fn copy_segments(from: &File, to: &File, metadata: &Metadata) -> Result<(), Error> {
    let sparse = metadata.blocks.saturating_mul(512) < metadata.size;
    let mut start = 0;
    while start < metadata.size {
        let (data, end) = if sparse {
            match segment(from, start, metadata.size) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(()),
                Err(errno) => return Err(failed("read", errno)),
            }
        } else {
            (start, metadata.size)
        };
        copy_range(from, to, data, end)?;
        start = end;
    }
    Ok(())
}

/// The next stretch of data at or after `start`; `None` if only a hole is left.
fn segment(from: impl AsFd, start: u64, size: u64) -> Result<Option<(u64, u64)>, Errno> {
    let data = match rustix::fs::seek(&from, SeekFrom::Data(start)) {
        Ok(data) => data,
        Err(Errno::NXIO) => return Ok(None),
        // A file system that knows no holes.
        Err(Errno::INVAL) => return Ok(Some((start, size))),
        Err(errno) => return Err(errno),
    };
    let hole = rustix::fs::seek(&from, SeekFrom::Hole(data))?;
    Ok((data < size).then_some((data, hole.min(size))))
}

fn copy_range(from: &File, to: &File, start: u64, end: u64) -> Result<(), Error> {
    let (mut read, mut written) = (start, start);
    while read < end {
        let left = usize::try_from(end - read).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), left) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            // What a full disk says, it also says to us; anything else may be the kernel's way
            // of saying that this pair of files is not for it.
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::FBIG)) => {
                return Err(failed("write", errno));
            }
            Err(_) => break,
        }
    }
    copy_by_hand(from, to, read, end)
}

fn copy_by_hand(from: &File, to: &File, start: u64, end: u64) -> Result<(), Error> {
    use std::os::unix::fs::FileExt;
    if start >= end {
        return Ok(());
    }
    let mut buffer = vec![0; CHUNK];
    let mut at = start;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let length = match from.read_at(&mut buffer[..wanted], at) {
            Ok(0) => return Err(Error::ChangedWhileRead { expected: end, found: at }),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::Content { action: "read", source }),
        };
        to.write_all_at(&buffer[..length], at)
            .map_err(|source| Error::Content { action: "write", source })?;
        at += u64::try_from(length).unwrap_or_default();
    }
    Ok(())
}
