//! Plain bytes in; compressed bytes, both digests and both sizes out, in one pass.
//!
//! Bytes are gathered in blocks of a fixed size. gzip writes one independent member per block, so
//! that blocks can be compressed in parallel and the result depends on the input and the level
//! alone. The calling thread fills blocks and writes the results to the sink in order; one thread
//! hashes the blocks, others compress them. At most `threads + 2` blocks are under way, whatever
//! the length.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use oci::{DiffId, Digest};
use sha2::{Digest as _, Sha256};

use crate::digester::{Block, Digester, Spare};
use crate::error::{Error, Result};
use crate::pool::{Compressor, Member, Pool};

/// Bytes of one gzip member. Part of what a layer's digest depends on: never change it lightly.
const BLOCK: usize = 1 << 20;
/// zstd's output depends on being multi-threaded or not, so the count is fixed, not the machine's.
const ZSTD_WORKERS: u32 = 2;
/// Bytes one zstd worker takes at a time; fixed for the same reason, and it bounds the memory.
const ZSTD_JOB: u32 = 4 << 20;

/// How a layer's tar is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// As it is.
    None,
    /// gzip by libdeflate.
    Gzip {
        /// 0 (store) to 12; kaniko's default is 1.
        level: u32,
    },
    /// Zstandard.
    Zstd {
        /// 1 to 22; zstd's own default is 3.
        level: i32,
    },
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip { level: 1 }
    }
}

/// What a finished [`Encoder`] knows of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The digest of the plain bytes.
    pub diff_id: DiffId,
    /// The number of plain bytes.
    pub uncompressed_size: u64,
    /// The digest of what went into the sink.
    pub digest: Digest,
    /// The number of bytes that went into the sink.
    pub size: u64,
}

/// Compresses and hashes what is written to it.
pub struct Encoder<W: Write> {
    /// The block being filled, always of its full length, and how much of it is filled.
    block: Vec<u8>,
    filled: usize,
    plain: Digester,
    /// Whether hashing beside the work is worth a thread.
    is_alone: bool,
    spare: Spare,
    free: Receiver<Vec<u8>>,
    method: Method<W>,
}

enum Method<W: Write> {
    Plain(Sink<W>),
    Members { sink: Sink<W>, pool: Pool, alone: Compressor, member: Member, any: bool },
    OneMember(flate2::write::GzEncoder<Sink<W>>),
    Zstd(zstd::stream::write::Encoder<'static, Sink<W>>),
}

/// Counts and hashes what reaches the real sink.
struct Sink<W> {
    inner: W,
    /// `None` where the bytes are the plain ones, which are hashed already.
    hash: Option<Sha256>,
    size: u64,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&bytes[..written]);
        }
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Encoder<W> {
    /// An encoder into `sink`. `single_member` writes gzip as one member, for readers that stop
    /// after the first; that form cannot be made in parallel.
    pub fn new(
        sink: W,
        compression: Compression,
        threads: usize,
        single_member: bool,
    ) -> Result<Self> {
        let (spare, free) = Spare::new(Pool::room(threads));
        let hash = (compression != Compression::None).then(Sha256::new);
        let sink = Sink { inner: sink, hash, size: 0 };
        let method = match compression {
            Compression::None => Method::Plain(sink),
            Compression::Gzip { level } if single_member => {
                // zlib ends at 9; a level that only libdeflate has means "as small as can be".
                let level = flate2::Compression::new(checked_gzip(level)?.min(9));
                let header = flate2::GzBuilder::new().mtime(0).operating_system(255);
                Method::OneMember(header.write(sink, level))
            }
            Compression::Gzip { level } => {
                let level = checked_gzip(level)?;
                let pool = Pool::new(threads, level, spare.clone());
                let (alone, member) = (Compressor::new(level), Member::default());
                Method::Members { sink, pool, alone, member, any: false }
            }
            Compression::Zstd { level } => Method::Zstd(zstd_encoder(sink, level)?),
        };
        let plain = Digester::new(spare.clone());
        let is_alone = threads <= 1;
        Ok(Self { block: Vec::new(), filled: 0, plain, is_alone, spare, free, method })
    }

    /// Takes exactly `size` bytes from `reader`, straight into the block being filled.
    ///
    /// Returns how many were missing when the reader ended early.
    pub(crate) fn take_from(&mut self, reader: &mut impl Read, mut size: u64) -> Result<u64> {
        while size > 0 {
            let length = read_some(reader, self.room(size)).map_err(Error::Read)?;
            if length == 0 {
                return Ok(size);
            }
            size -= length as u64;
            self.fill(length)?;
        }
        Ok(0)
    }

    /// Appends bytes.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len() as u64);
            let length = room.len();
            room.copy_from_slice(&bytes[..length]);
            bytes = &bytes[length..];
            self.fill(length)?;
        }
        Ok(())
    }

    /// Appends zeros: padding, and the holes of sparse files.
    pub(crate) fn push_zeros(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let room = self.room(count);
            let length = room.len();
            room.fill(0);
            count -= length as u64;
            self.fill(length)?;
        }
        Ok(())
    }

    /// The number of plain bytes so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.plain.size() + self.filled as u64
    }

    /// Ends the stream and hands the sink back.
    pub fn finish(mut self) -> Result<(W, Encoded)> {
        self.flush_short()?;
        let mut sink = match self.method {
            Method::Plain(sink) => sink,
            Method::Members { mut sink, mut pool, mut alone, mut member, any } => {
                while let Some(member) = pool.next_member()? {
                    sink.write_all(member.bytes()).map_err(Error::Sink)?;
                }
                if !any {
                    alone.member(&[], &mut member)?;
                    sink.write_all(member.bytes()).map_err(Error::Sink)?;
                }
                sink
            }
            Method::OneMember(encoder) => encoder.finish().map_err(Error::Sink)?,
            Method::Zstd(encoder) => encoder.finish().map_err(Error::Sink)?,
        };
        sink.flush().map_err(Error::Sink)?;
        let uncompressed_size = self.plain.size();
        let diff_id = self.plain.finish().map_err(Error::Sink)?;
        let digest = match sink.hash {
            Some(hash) => Digest::from_sha256(hash.finalize().into()),
            None => diff_id.0.clone(),
        };
        let encoded = Encoded { diff_id, uncompressed_size, digest, size: sink.size };
        Ok((sink.inner, encoded))
    }

    /// What is left of the block being filled, `wanted` bytes at most; never nothing.
    fn room(&mut self, wanted: u64) -> &mut [u8] {
        if self.block.is_empty() {
            self.block = self.free.try_recv().unwrap_or_default();
            self.block.resize(BLOCK, 0);
        }
        let room = &mut self.block[self.filled..];
        let length = room.len().min(usize::try_from(wanted).unwrap_or(BLOCK));
        &mut room[..length]
    }

    /// Says how much of the room was used.
    fn fill(&mut self, length: usize) -> Result<()> {
        self.filled += length;
        if self.filled == BLOCK { self.flush_full() } else { Ok(()) }
    }

    /// Hands on a block that is full.
    fn flush_full(&mut self) -> Result<()> {
        if self.is_alone {
            return self.flush_short();
        }
        self.filled = 0;
        let block: Block = Arc::new(std::mem::take(&mut self.block));
        self.plain.update(Arc::clone(&block)).map_err(Error::Sink)?;
        match &mut self.method {
            Method::Plain(sink) => sink.write_all(&block).map_err(Error::Sink)?,
            Method::OneMember(encoder) => encoder.write_all(&block).map_err(Error::Sink)?,
            Method::Zstd(encoder) => encoder.write_all(&block).map_err(Error::Sink)?,
            Method::Members { sink, pool, any, .. } => {
                *any = true;
                if pool.is_full()
                    && let Some(member) = pool.next_member()?
                {
                    sink.write_all(member.bytes()).map_err(Error::Sink)?;
                    pool.reuse(member);
                }
                return pool.submit(block);
            }
        }
        self.spare.give_back(block);
        Ok(())
    }

    /// Does all work on this thread: for the last block, and where there is no other thread.
    fn flush_short(&mut self) -> Result<()> {
        let bytes = &self.block[..std::mem::take(&mut self.filled)];
        if bytes.is_empty() {
            return Ok(());
        }
        self.plain.update_here(bytes).map_err(Error::Sink)?;
        match &mut self.method {
            Method::Plain(sink) => sink.write_all(bytes).map_err(Error::Sink),
            Method::OneMember(encoder) => encoder.write_all(bytes).map_err(Error::Sink),
            Method::Zstd(encoder) => encoder.write_all(bytes).map_err(Error::Sink),
            Method::Members { sink, pool, alone, member, any } => {
                *any = true;
                while let Some(member) = pool.next_member()? {
                    sink.write_all(member.bytes()).map_err(Error::Sink)?;
                }
                alone.member(bytes, member)?;
                sink.write_all(member.bytes()).map_err(Error::Sink)
            }
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn checked_gzip(level: u32) -> Result<u32> {
    if level <= 12 { Ok(level) } else { Err(Error::Level { method: "gzip", level: level.into() }) }
}

fn zstd_encoder<W: Write>(
    sink: Sink<W>,
    level: i32,
) -> Result<zstd::stream::write::Encoder<'static, Sink<W>>> {
    if !(1..=22).contains(&level) {
        return Err(Error::Level { method: "zstd", level: level.into() });
    }
    let mut encoder = zstd::stream::write::Encoder::new(sink, level).map_err(Error::Sink)?;
    encoder.multithread(ZSTD_WORKERS).map_err(Error::Sink)?;
    encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(ZSTD_JOB)).map_err(Error::Sink)?;
    Ok(encoder)
}

fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compressible and not, with a length that is no multiple of the block.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.extend_from_slice(&state.to_le_bytes()[..if state >> 63 == 0 { 8 } else { 2 }]);
            bytes.extend_from_slice(b"usr/share/doc/");
        }
        bytes.truncate(length);
        bytes
    }

    fn encode(bytes: &[u8], how: Compression, threads: usize, single: bool) -> (Vec<u8>, Encoded) {
        let mut encoder = Encoder::new(Vec::new(), how, threads, single).expect("the level exists");
        for chunk in bytes.chunks(70_001) {
            encoder.push(chunk).expect("a vector takes all");
        }
        encoder.finish().expect("a vector takes all")
    }

    fn check(length: usize, how: Compression, single: bool) {
        let bytes = sample(length);
        let (compressed, encoded) = encode(&bytes, how, 1, single);
        for threads in [2, 5] {
            assert_eq!(encode(&bytes, how, threads, single), (compressed.clone(), encoded.clone()));
        }
        let limits = crate::Limits::default();
        let mut plain = Vec::new();
        crate::decode::decoder(&compressed[..], crate::decode::Accepted::Layer, &limits)
            .expect("a known magic number")
            .read_to_end(&mut plain)
            .expect("what was compressed can be read");
        assert!(plain == bytes, "{how:?} {length}");
        assert_eq!(encoded.diff_id, DiffId(Digest::sha256_of(&bytes)));
        assert_eq!(encoded.digest, Digest::sha256_of(&compressed));
        let sizes = (encoded.uncompressed_size, encoded.size);
        assert_eq!(sizes, (bytes.len() as u64, compressed.len() as u64));
    }

    #[test]
    fn every_method_gives_the_same_bytes_for_any_number_of_threads() {
        let members = Compression::Gzip { level: 1 };
        check(3 * BLOCK + 17, members, false);
        for length in [0, 1, BLOCK] {
            check(length, Compression::None, false);
            check(length, members, false);
            check(length, Compression::Gzip { level: 6 }, true);
            check(length, Compression::Zstd { level: 3 }, false);
        }
    }

    #[test]
    fn gzip_members_state_no_time_and_no_system() {
        let (bytes, _) = encode(b"x", Compression::Gzip { level: 6 }, 1, false);
        assert_eq!(&bytes[..10], b"\x1f\x8b\x08\0\0\0\0\0\0\xff");
    }

    #[test]
    fn levels_that_do_not_exist_are_errors() {
        let check = |how, expected: &str| {
            let error = Encoder::new(Vec::new(), how, 1, false).err().expect("no such level");
            assert_eq!(error.to_string(), expected);
        };
        check(Compression::Gzip { level: 13 }, "gzip has no compression level 13");
        check(Compression::Zstd { level: 0 }, "zstd has no compression level 0");
        check(Compression::Zstd { level: 23 }, "zstd has no compression level 23");
    }

    /// Takes some bytes and then fails, as a full disk does.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_sink_that_fails_ends_the_threads_and_is_the_error() {
        for how in
            [Compression::None, Compression::Gzip { level: 1 }, Compression::Zstd { level: 1 }]
        {
            let mut encoder = Encoder::new(Full(1 << 20), how, 3, false).expect("the level exists");
            let pushed = encoder.push(&sample(8 * BLOCK));
            let error =
                pushed.and_then(|()| encoder.finish().map(drop)).expect_err("the sink is full");
            assert!(matches!(error, Error::Sink(_)), "{error}");
        }
    }
}
