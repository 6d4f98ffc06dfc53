//! The hash of what `stat` does not tell: content, link target, extended attributes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use blake3::Hasher;
use rootfs::{FileKind, Metadata, OpenDirectory, Xattrs};
use rustix::fs::SeekFrom;

use crate::error::Error;

/// A hash of content, target and attributes: as much of BLAKE3 as makes a coincidence impossible.
pub(crate) type Fingerprint = [u8; 16];

/// Content is hashed in blocks of this size, and blocks of zeros are left out, so that a hole and
/// written zeros are the same and a sparse terabyte costs nothing.
const BLOCK: usize = 64 * 1024;
const BLOCK_U64: u64 = 64 * 1024;

/// The fingerprint of a name in an open directory (other than a directory).
pub(crate) fn fingerprint(
    directory: &OpenDirectory,
    name: &[u8],
    metadata: &Metadata,
) -> Result<Fingerprint, Error> {
    let mut hasher = Hasher::new();
    match metadata.kind {
        FileKind::File => {
            let file = directory.open_file(name)?;
            hash_content(&file, metadata, &mut hasher).map_err(|source| {
                match directory.child(name) {
                    Ok(path) => Error::Read { path, source },
                    Err(error) => error.into(),
                }
            })?;
        }
        FileKind::Symlink => {
            hasher.update(&directory.read_link(name)?);
        }
        FileKind::Directory
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::BlockDevice
        | FileKind::CharDevice => {}
    }
    let content = finish(&hasher);
    let attributes = of_attributes(&directory.xattrs_of(name, metadata.kind)?);
    Ok(attributes
        .map_or(content, |attributes| finish(Hasher::new().update(&content).update(&attributes))))
}

fn finish(hasher: &Hasher) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    hasher.finalize_xof().fill(&mut fingerprint);
    fingerprint
}

/// The fingerprint of attributes; `None` if there are none, as mostly.
pub(crate) fn of_attributes(attributes: &Xattrs) -> Option<Fingerprint> {
    if attributes.is_empty() {
        return None;
    }
    let mut hasher = Hasher::new();
    for part in attributes.iter().flat_map(|(name, value)| [name, value]) {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part);
    }
    Some(finish(&hasher))
}

fn hash_content(file: &File, metadata: &Metadata, hasher: &mut Hasher) -> std::io::Result<()> {
    let sparse = metadata.blocks.saturating_mul(512) < metadata.size;
    let capacity = usize::try_from(metadata.size).unwrap_or(BLOCK).clamp(1, BLOCK);
    let mut block = vec![0; capacity];
    let mut at = 0;
    loop {
        if sparse {
            match rustix::fs::seek(file, SeekFrom::Data(at)) {
                // From the beginning of the block, whatever the file system's own unit is.
                Ok(data) => at = at.max(data / BLOCK_U64 * BLOCK_U64),
                Err(rustix::io::Errno::NXIO) => break,
                Err(rustix::io::Errno::INVAL) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let length = fill(file, &mut block, at)?;
        if block[..length].iter().any(|byte| *byte != 0) {
            hasher.update(&at.to_le_bytes());
            hasher.update(&block[..length]);
        }
        at += u64::try_from(length).unwrap_or_default();
        if length < BLOCK {
            break;
        }
    }
    // Zeros at the end are left out as well: the size says that they are there.
    hasher.update(&metadata.size.to_le_bytes());
    Ok(())
}

/// Reads until the block is full or the file ends.
fn fill(file: &File, block: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        let offset = at + u64::try_from(filled).unwrap_or_default();
        match file.read_at(&mut block[filled..], offset) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
