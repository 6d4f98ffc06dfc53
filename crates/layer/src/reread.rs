//! Only for tests and fuzzing: what the tar reader reads, our writer writes and the reader reads
//! again, is the same. Hostile bytes must come to an end, with an error or without.

use crate::archive::Archive;
use crate::encode;
use crate::entry::{Entry, Kind};
use crate::error::Result;
use crate::header::BLOCK;
use crate::limits::Limits;

/// Files that are larger (most of it holes then) are read, but not written again.
const LARGEST: u64 = 1 << 20;
/// What a device number has room for in a header; the kernel has no larger ones.
const LARGEST_DEVICE: u32 = 0o7_777_777;

/// Reads `bytes` as an archive and proves it, as far as it can be read.
///
/// # Panics
/// Where the archive that is written of it reads otherwise.
#[allow(unreachable_pub, reason = "the fuzz target calls it, and is built elsewhere")]
pub fn reread(bytes: &[u8]) {
    let limits = Limits::default();
    let (entries, _) = read(bytes, &limits);
    let mut again = Vec::new();
    for (entry, content) in &entries {
        again.extend_from_slice(&encode::header(entry));
        again.extend_from_slice(content);
        again.resize(again.len().next_multiple_of(BLOCK), 0);
    }
    again.extend_from_slice(&[0; 2 * BLOCK]);
    // Several headers may become one.
    let limits = Limits {
        extension_bytes: 4 * limits.extension_bytes,
        pax_records: 2 * limits.pax_records,
        ..limits
    };
    let (found, result) = read(&again, &limits);
    assert!(result.is_ok(), "what we write of {entries:?} cannot be read: {result:?}");
    assert_eq!(found, entries);
}

/// The entries that can be written again, with their content, up to the end or an error.
fn read(bytes: &[u8], limits: &Limits) -> (Vec<(Entry, Vec<u8>)>, Result<()>) {
    let mut archive = Archive::new(bytes, limits);
    let mut entries = Vec::new();
    loop {
        let entry = match archive.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return (entries, Ok(())),
            Err(error) => return (entries, Err(error)),
        };
        let is_kept = entry.size <= LARGEST && has_room(&entry.kind);
        let mut content = vec![0; if is_kept { entry.size as usize } else { 0 }];
        let copied = archive.copy_body(&mut |offset, piece| {
            assert!(offset + piece.len() as u64 <= entry.size, "a piece lies beyond the file");
            if is_kept {
                content[offset as usize..][..piece.len()].copy_from_slice(piece);
            }
            Ok(())
        });
        if let Err(error) = copied {
            return (entries, Err(error));
        }
        if is_kept {
            entries.push((entry, content));
        }
    }
}

fn has_room(kind: &Kind) -> bool {
    match kind {
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
            *major <= LARGEST_DEVICE && *minor <= LARGEST_DEVICE
        }
        Kind::File | Kind::Directory | Kind::Symlink(_) | Kind::HardLink(_) | Kind::Fifo => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use testkit::hostile::{Canary, cases};
    use testkit::tar_builder::{Member, TarBuilder, set_checksum};

    use super::*;

    /// Every archive of the hostile table, as far as it can be read.
    #[test]
    fn hostile_archives_read_the_same_again() {
        let canary = Canary::new();
        let plain = |archive: &Vec<u8>| archive.len() < 1 << 20;
        for case in cases() {
            for archive in case.archives(&canary).into_iter().filter(plain) {
                reread(&archive);
            }
        }
    }

    /// One of everything, with extension headers of every dialect.
    fn sample() -> Vec<u8> {
        let map = Member::file("sparse", "abcdef").pax("GNU.sparse.size", "90");
        TarBuilder::new()
            .dir("d", 0o755)
            .symlink("d/l", "../../")
            .member(&Member::file("d/x", "content").xattr("user.a", "b=\n").pax("mtime", "-1.25"))
            .gnu_long(b'L', "n".repeat(120))
            .gnu_long(b'K', "t".repeat(120))
            .symlink("x", "long")
            .hardlink("h", "d/x")
            .char_device("null", 1, 3)
            .member(&map.pax("GNU.sparse.map", "0,3,50,3"))
            .member(&Member::file("owner", "").owner(1 << 31, 1 << 22))
            .fifo("p")
            .end()
    }

    proptest! {
        #[test]
        fn damaged_archives_read_the_same_again(
            at in prop::collection::vec((0usize..12_000, any::<u8>()), 0..8),
        ) {
            let mut bytes = sample();
            let length = bytes.len();
            for (at, byte) in at {
                bytes[at % length] = byte;
            }
            for block in bytes.as_chunks_mut::<BLOCK>().0 {
                // Whatever looks like a header gets a checksum that holds.
                if block[257..262] == *b"ustar" {
                    set_checksum(block);
                }
            }
            reread(&bytes);
        }
    }
}
