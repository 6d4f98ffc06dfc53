//! Plain bytes in; compressed bytes, both digests and both sizes out, in one pass.
//!
//! Bytes are gathered in blocks of a fixed size. gzip writes one independent member per block, so
//! that blocks can be compressed in parallel and the result depends on the input and the level
//! alone. The calling thread fills blocks, hashes them and writes the results to the sink in
//! order; workers only compress. At most `threads + 2` blocks are under way, whatever the length.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use oci::{DiffId, Digest};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// Bytes of one gzip member. Part of what a layer's digest depends on: never change it lightly.
const BLOCK: usize = 1 << 20;
/// More workers than this do not help: the one thread that hashes is the limit then.
const MAX_THREADS: usize = 8;
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
    block: Vec<u8>,
    plain: Sha256,
    plain_size: u64,
    method: Method<W>,
}

enum Method<W: Write> {
    Plain(Sink<W>),
    Members {
        sink: Sink<W>,
        level: u32,
        pool: Pool,
        single: Option<libdeflater::Compressor>,
        any: bool,
    },
    OneMember(flate2::write::GzEncoder<Sink<W>>),
    Zstd(zstd::stream::write::Encoder<'static, Sink<W>>),
}

/// Counts and hashes what reaches the real sink.
struct Sink<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
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
        let sink = Sink { inner: sink, hash: Sha256::new(), size: 0 };
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
                Method::Members { sink, level, pool: Pool::new(threads), single: None, any: false }
            }
            Compression::Zstd { level } => Method::Zstd(zstd_encoder(sink, level)?),
        };
        Ok(Self { block: Vec::new(), plain: Sha256::new(), plain_size: 0, method })
    }

    /// Takes exactly `size` bytes from `reader`, straight into the block being filled.
    ///
    /// Returns how many were missing when the reader ended early.
    pub(crate) fn take_from(&mut self, reader: &mut impl Read, mut size: u64) -> Result<u64> {
        while size > 0 {
            let filled = self.block.len();
            let room = (BLOCK - filled).min(usize::try_from(size).unwrap_or(BLOCK));
            self.block.resize(filled + room, 0);
            let read = read_some(reader, &mut self.block[filled..]);
            self.block.truncate(filled + *read.as_ref().unwrap_or(&0));
            match read.map_err(Error::Read)? {
                0 => return Ok(size),
                count => size -= count as u64,
            }
            self.flush_full()?;
        }
        Ok(0)
    }

    /// Appends bytes.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = (BLOCK - self.block.len()).min(bytes.len());
            self.block.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            self.flush_full()?;
        }
        Ok(())
    }

    /// Appends zeros: padding, and the holes of sparse files.
    pub(crate) fn push_zeros(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let room = (BLOCK - self.block.len()).min(usize::try_from(count).unwrap_or(BLOCK));
            self.block.resize(self.block.len() + room, 0);
            count -= room as u64;
            self.flush_full()?;
        }
        Ok(())
    }

    /// The number of plain bytes so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.plain_size + self.block.len() as u64
    }

    /// Ends the stream and hands the sink back.
    pub fn finish(mut self) -> Result<(W, Encoded)> {
        self.flush_block()?;
        let mut sink = match self.method {
            Method::Plain(sink) => sink,
            Method::Members { mut sink, level, mut pool, mut single, any } => {
                while let Some(member) = pool.next_member()? {
                    sink.write_all(&member).map_err(Error::Sink)?;
                }
                if !any {
                    let member = member(&mut single, level, &[])?;
                    sink.write_all(&member).map_err(Error::Sink)?;
                }
                sink
            }
            Method::OneMember(encoder) => encoder.finish().map_err(Error::Sink)?,
            Method::Zstd(encoder) => encoder.finish().map_err(Error::Sink)?,
        };
        sink.flush().map_err(Error::Sink)?;
        let encoded = Encoded {
            diff_id: DiffId(Digest::from_sha256(self.plain.finalize().into())),
            uncompressed_size: self.plain_size,
            digest: Digest::from_sha256(sink.hash.finalize().into()),
            size: sink.size,
        };
        Ok((sink.inner, encoded))
    }

    fn flush_full(&mut self) -> Result<()> {
        if self.block.len() == BLOCK { self.flush_block() } else { Ok(()) }
    }

    fn flush_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.plain.update(&self.block);
        self.plain_size += self.block.len() as u64;
        match &mut self.method {
            Method::Plain(sink) => sink.write_all(&self.block).map_err(Error::Sink)?,
            Method::OneMember(encoder) => encoder.write_all(&self.block).map_err(Error::Sink)?,
            Method::Zstd(encoder) => encoder.write_all(&self.block).map_err(Error::Sink)?,
            Method::Members { sink, level, pool, single, any } => {
                *any = true;
                // A short block is the last: not worth a thread where none runs yet.
                if pool.threads == 1 || (pool.workers.is_empty() && self.block.len() < BLOCK) {
                    let member = member(single, *level, &self.block)?;
                    sink.write_all(&member).map_err(Error::Sink)?;
                } else {
                    if pool.is_full()
                        && let Some(member) = pool.next_member()?
                    {
                        sink.write_all(&member).map_err(Error::Sink)?;
                    }
                    let empty = pool.spare.pop().unwrap_or_default();
                    pool.submit(std::mem::replace(&mut self.block, empty), *level)?;
                }
            }
        }
        self.block.clear();
        Ok(())
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

/// The threads that compress, and what they have in hand, oldest first.
struct Pool {
    threads: usize,
    jobs: Option<SyncSender<Job>>,
    pending: VecDeque<Receiver<Done>>,
    workers: Vec<JoinHandle<()>>,
    spare: Vec<Vec<u8>>,
}

struct Job {
    block: Vec<u8>,
    level: u32,
    reply: SyncSender<Done>,
}

struct Done {
    member: Result<Vec<u8>>,
    block: Vec<u8>,
}

impl Pool {
    fn new(threads: usize) -> Self {
        let threads = threads.clamp(1, MAX_THREADS);
        Self {
            threads,
            jobs: None,
            pending: VecDeque::new(),
            workers: Vec::new(),
            spare: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= self.threads + 2
    }

    fn submit(&mut self, block: Vec<u8>, level: u32) -> Result<()> {
        let jobs = match &self.jobs {
            Some(jobs) => jobs,
            None => self.start()?,
        };
        let (reply, done) = sync_channel(1);
        let job = Job { block, level, reply };
        jobs.send(job)
            .map_err(|_| Error::Sink(io::Error::other("the compressing threads ended")))?;
        self.pending.push_back(done);
        Ok(())
    }

    fn start(&mut self) -> Result<&SyncSender<Job>> {
        let (sender, receiver) = sync_channel(self.threads + 2);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..self.threads {
            let receiver = Arc::clone(&receiver);
            let worker = std::thread::Builder::new()
                .name("layer-gzip".to_owned())
                .spawn(move || work(&receiver))
                .map_err(Error::Sink)?;
            self.workers.push(worker);
        }
        Ok(self.jobs.insert(sender))
    }

    fn next_member(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(done) = self.pending.pop_front() else { return Ok(None) };
        let done = done
            .recv()
            .map_err(|_| Error::Sink(io::Error::other("a compressing thread ended early")))?;
        let mut block = done.block;
        block.clear();
        self.spare.push(block);
        done.member.map(Some)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        self.pending.clear();
        for worker in self.workers.drain(..) {
            // A worker that panicked has already made its job fail; there is no one to tell here.
            let _ = worker.join();
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    let mut compressor = None;
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, level, reply }) = job else { return };
        let member = member(&mut compressor, level, &block);
        // The writer has gone away after an error of its own: nobody wants this member.
        let _ = reply.send(Done { member, block });
    }
}

/// One complete gzip member; the header states no time and no system.
fn member(
    compressor: &mut Option<libdeflater::Compressor>,
    level: u32,
    block: &[u8],
) -> Result<Vec<u8>> {
    let compressor = match compressor {
        Some(compressor) => compressor,
        None => {
            let level =
                i32::try_from(level).ok().and_then(|l| libdeflater::CompressionLvl::new(l).ok());
            let level = level.ok_or_else(|| Error::Sink(io::Error::other("no such gzip level")))?;
            compressor.insert(libdeflater::Compressor::new(level))
        }
    };
    let mut out = vec![0; compressor.gzip_compress_bound(block.len())];
    let size = compressor
        .gzip_compress(block, &mut out)
        .map_err(|error| Error::Sink(io::Error::other(error.to_string())))?;
    out.truncate(size);
    Ok(out)
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
