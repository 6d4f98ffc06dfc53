//! Copying what is in a file: cheaply where the kernel can, and holes stay holes; and reading it
//! with the same care for files that change meanwhile.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::error::Error;
use crate::metadata::Metadata;

/// Bytes a buffer holds where the kernel cannot copy by itself.
const CHUNK: usize = 256 * 1024;

/// Bytes that are copied between two questions whether to stop.
const UNTIL_ASKED: usize = 16 << 20;

/// What is known about the way from one tree to another. One is kept for all files of a copy, so
/// that what the file systems cannot do is tried once and not for every file.
#[derive(Debug, Default)]
pub struct CopyRoute {
    /// Extents cannot be shared.
    no_clones: AtomicBool,
    /// The kernel cannot copy by itself.
    by_hand: AtomicBool,
}

/// Copies the whole content of `from` into the empty file `to`.
///
/// Extents are shared where the file systems can, else the kernel copies, else we do. `before` is
/// what was known of the file before the first byte was read: if its size, mtime or ctime moved
/// until the last byte was, that is an error, for nobody could say what was copied. `stop` is asked
/// between pieces of long files. The positions of both files are not used but may move.
pub fn copy_file_contents(
    from: &File,
    before: &Metadata,
    to: &File,
    route: &CopyRoute,
    stop: &dyn Fn() -> bool,
) -> Result<(), Error> {
    if before.size > 0 && !share_extents(from, to, route) {
        let end = copy_segments(&Copying { from, to, route, stop }, before)?;
        if end < before.size {
            rustix::fs::ftruncate(to, before.size).map_err(|errno| failed("write", errno))?;
        }
    }
    is_unchanged(from, before)
}

/// Reads the whole content of `from` and gives it to `each`, piece by piece.
///
/// `before` and `stop` are as in [`copy_file_contents`]; `buffer` is ours to use, so that many
/// small files need only one.
pub fn read_file_contents(
    from: &File,
    before: &Metadata,
    buffer: &mut Vec<u8>,
    each: &mut dyn FnMut(&[u8]),
    stop: &dyn Fn() -> bool,
) -> Result<(), Error> {
    let wanted = usize::try_from(before.size).unwrap_or(CHUNK).min(CHUNK);
    if buffer.len() < wanted {
        buffer.resize(wanted, 0);
    }
    let (mut at, mut unasked) = (0, 0);
    while at < before.size {
        if unasked >= UNTIL_ASKED {
            if stop() {
                return Err(Error::Stopped);
            }
            unasked = 0;
        }
        let left = usize::try_from(before.size - at).unwrap_or(CHUNK).min(buffer.len());
        let length = read_piece(from, &mut buffer[..left], at, before.size)?;
        each(&buffer[..length]);
        at += u64::try_from(length).unwrap_or_default();
        unasked += length;
    }
    is_unchanged(from, before)
}

/// At least one byte from the position `at` of a file that has `end` of them.
fn read_piece(from: &File, buffer: &mut [u8], at: u64, end: u64) -> Result<usize, Error> {
    loop {
        match from.read_at(buffer, at) {
            Ok(0) => return Err(Error::ChangedWhileRead { expected: end, found: at }),
            Ok(length) => return Ok(length),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Content { action: "read", source }),
        }
    }
}

/// Fails if the file was written since `before`.
fn is_unchanged(file: &File, before: &Metadata) -> Result<(), Error> {
    let after = Metadata::at(file, "").map_err(|errno| failed("read", errno))?;
    match after.is_same_content_as(before) {
        true => Ok(()),
        false => Err(Error::ChangedWhileRead { expected: before.size, found: after.size }),
    }
}

/// One file on its way.
struct Copying<'a> {
    from: &'a File,
    to: &'a File,
    route: &'a CopyRoute,
    stop: &'a dyn Fn() -> bool,
}

/// Lets both files have the same extents, if the file system can.
fn share_extents(from: &File, to: &File, route: &CopyRoute) -> bool {
    if route.no_clones.load(Ordering::Relaxed) {
        return false;
    }
    match rustix::fs::ioctl_ficlone(to, from) {
        Ok(()) => true,
        Err(errno) => {
            // Others can be about this one file.
            if matches!(errno, Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS) {
                route.no_clones.store(true, Ordering::Relaxed);
            }
            false
        }
    }
}

fn failed(action: &'static str, errno: Errno) -> Error {
    Error::Content { action, source: errno.into() }
}

/// Copies what is between the holes; returns where the last stretch ended.
fn copy_segments(copying: &Copying<'_>, metadata: &Metadata) -> Result<u64, Error> {
    let sparse = metadata.blocks.saturating_mul(512) < metadata.size;
    if !sparse {
        copy_range(copying, 0, metadata.size)?;
        return Ok(metadata.size);
    }
    let mut end = 0;
    while end < metadata.size {
        let found = segment(copying.from, end, metadata.size);
        let Some((start, hole)) = found.map_err(|errno| failed("read", errno))? else { break };
        copy_range(copying, start, hole)?;
        end = hole;
    }
    Ok(end)
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

fn copy_range(copying: &Copying<'_>, start: u64, end: u64) -> Result<(), Error> {
    let (mut read, mut written) = (start, start);
    let by_hand = &copying.route.by_hand;
    while read < end && !by_hand.load(Ordering::Relaxed) {
        if read > start && (copying.stop)() {
            return Err(Error::Stopped);
        }
        let left = usize::try_from(end - read).unwrap_or(usize::MAX).min(UNTIL_ASKED);
        let (from, to) = (copying.from, copying.to);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), left) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            // What a full disk says, it also says to us; anything else may be the kernel's way
            // of saying that this pair of files is not for it.
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::FBIG)) => {
                return Err(failed("write", errno));
            }
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP) => {
                by_hand.store(true, Ordering::Relaxed);
            }
            Err(_) => break,
        }
    }
    copy_by_hand(copying, read, end)
}

fn copy_by_hand(copying: &Copying<'_>, start: u64, end: u64) -> Result<(), Error> {
    if start >= end {
        return Ok(());
    }
    let mut buffer = vec![0; CHUNK.min(usize::try_from(end - start).unwrap_or(CHUNK))];
    let (mut at, mut unasked) = (start, 0);
    while at < end {
        if unasked >= UNTIL_ASKED {
            if (copying.stop)() {
                return Err(Error::Stopped);
            }
            unasked = 0;
        }
        let wanted = usize::try_from(end - at).unwrap_or(CHUNK).min(buffer.len());
        let length = read_piece(copying.from, &mut buffer[..wanted], at, end)?;
        copying
            .to
            .write_all_at(&buffer[..length], at)
            .map_err(|source| Error::Content { action: "write", source })?;
        at += u64::try_from(length).unwrap_or_default();
        unasked += length;
    }
    Ok(())
}
