//! Which compression a stream has, told by its first bytes, and its decoder.
//!
//! Exactly one level of compression is taken off. Names and media types are not believed: the
//! magic number decides, and [`Accepted`] says which answers are allowed.

use std::io::{self, BufReader, Cursor, Read};

use oci::{DiffId, Digest};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::header;
use crate::limits::Limits;

const BUFFER: usize = 64 << 10;

/// What the first bytes of a stream say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// An uncompressed tar archive.
    Tar,
    /// gzip, whatever is inside.
    Gzip,
    /// Zstandard, whatever is inside.
    Zstd,
    /// bzip2, whatever is inside.
    Bzip2,
    /// xz, whatever is inside.
    Xz,
}

/// Recognises an archive by its first bytes; 512 of them are enough.
///
/// A compressed stream may still hold something else than a tar: [`crate::is_archive`] looks.
#[must_use]
pub fn sniff(start: &[u8]) -> Option<ArchiveKind> {
    let skippable = |start: &[u8]| {
        start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == *b"\x2a\x4d\x18"
    };
    if start.starts_with(b"\x1f\x8b") {
        Some(ArchiveKind::Gzip)
    } else if start.starts_with(b"\x28\xb5\x2f\xfd") || skippable(start) {
        Some(ArchiveKind::Zstd)
    } else if start.starts_with(b"BZh") {
        Some(ArchiveKind::Bzip2)
    } else if start.starts_with(b"\xfd7zXZ\0") {
        Some(ArchiveKind::Xz)
    } else if header::Block::from_prefix(start).is_some_and(|block| block.checksum_holds()) {
        Some(ArchiveKind::Tar)
    } else {
        None
    }
}

/// Which compressions a caller takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// What image layers may be: none, gzip, zstd.
    Layer,
    /// What `ADD` unpacks: also bzip2 and xz.
    Any,
}

/// The decoded bytes of `reader`.
///
/// A stream of no known kind is handed on as it is: whether it is a tar, the tar reader says.
pub(crate) fn decoder<'a>(
    mut reader: impl Read + Send + 'a,
    accepted: Accepted,
    limits: &Limits,
) -> Result<Box<dyn Read + Send + 'a>> {
    let start = first_bytes(&mut reader).map_err(Error::Read)?;
    let kind = sniff(&start);
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(reader));
    Ok(match kind {
        None | Some(ArchiveKind::Tar) => Box::new(whole),
        Some(ArchiveKind::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Some(ArchiveKind::Zstd) => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(whole).map_err(Error::Read)?;
            decoder.window_log_max(limits.decoder_bytes.max(1).ilog2()).map_err(Error::Read)?;
            Box::new(decoder)
        }
        Some(ArchiveKind::Bzip2) if accepted == Accepted::Any => {
            Box::new(bzip2::bufread::MultiBzDecoder::new(whole))
        }
        Some(ArchiveKind::Xz) if accepted == Accepted::Any => {
            let concatenated = liblzma::stream::CONCATENATED;
            let stream =
                liblzma::stream::Stream::new_stream_decoder(limits.decoder_bytes, concatenated)
                    .map_err(|error| Error::Read(io::Error::from(error)))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(whole, stream))
        }
        Some(ArchiveKind::Bzip2) => return Err(Error::Compression("bzip2")),
        Some(ArchiveKind::Xz) => return Err(Error::Compression("xz")),
    })
}

/// The digest of what a layer unpacks to, read to its end. Whether that is a tar is not looked at.
pub fn diff_id(reader: impl Read + Send, limits: &Limits) -> Result<DiffId> {
    let mut plain = decoder(reader, Accepted::Layer, limits)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    loop {
        match plain.read(&mut buffer).map_err(Error::Read)? {
            0 => return Ok(DiffId(Digest::from_sha256(hash.finalize().into()))),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn first_bytes(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    reader.take(header::BLOCK as u64).read_to_end(&mut start)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_layer_unpacks_to() {
        let check = |bytes: &[u8], expected: Option<&[u8]>| {
            let found = diff_id(bytes, &Limits::default()).ok();
            assert_eq!(found, expected.map(|plain| DiffId(Digest::sha256_of(plain))));
        };
        check(b"plain", Some(b"plain"));
        check(&testkit::tar_builder::gzip(b"plain"), Some(b"plain"));
        check(&testkit::tar_builder::zstd(b"plain"), Some(b"plain"));
        check(&testkit::tar_builder::gzip(b"plain")[..10], None);
        check(b"BZh9", None);
    }

    #[test]
    fn magic_numbers_decide() {
        let check = |start: &[u8], expected| assert_eq!(sniff(start), expected, "{start:?}");
        check(b"", None);
        check(b"\x1f\x8b\x08", Some(ArchiveKind::Gzip));
        check(b"\x28\xb5\x2f\xfd", Some(ArchiveKind::Zstd));
        check(b"\x5a\x2a\x4d\x18", Some(ArchiveKind::Zstd));
        check(b"BZh9", Some(ArchiveKind::Bzip2));
        check(b"\xfd7zXZ\0\0", Some(ArchiveKind::Xz));
        check(&[0; 512], None);
        check(&[b'a'; 512], None);
    }
}
