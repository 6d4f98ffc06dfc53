//! The stream under an archive: decoded and hashed on a thread of its own, read here.
//!
//! Decoding, hashing and making files overlap; between them lie a few blocks, never more. The
//! stream is always read to its end, beyond the end of the archive in it: only then is its digest
//! that of the layer.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use oci::{DiffId, Digest};
use sha2::{Digest as _, Sha256};

use crate::decode::{Accepted, decoder};
use crate::error::{Error, Result};
use crate::limits::Limits;

const BLOCK: usize = 256 << 10;
const BLOCKS: usize = 4;

/// The decoded stream as the archive reader takes it.
pub(crate) struct Pipe {
    blocks: Receiver<Vec<u8>>,
    /// Used blocks go back to be filled again.
    used: SyncSender<Vec<u8>>,
    block: Vec<u8>,
    position: usize,
    ended: bool,
}

/// What the whole stream was.
pub(crate) struct Stream {
    pub(crate) diff_id: DiffId,
    pub(crate) size: u64,
}

/// Runs `consume` on the decoded bytes of `reader`, then reads what it left.
pub(crate) fn with_stream<R: Read + Send, T>(
    reader: R,
    accepted: Accepted,
    limits: &Limits,
    consume: impl FnOnce(&mut Pipe) -> Result<T>,
) -> Result<(T, Stream)> {
    std::thread::scope(|scope| {
        let (filled, blocks) = sync_channel(BLOCKS);
        let (used, free) = sync_channel(BLOCKS + 2);
        let pump = std::thread::Builder::new()
            .name("layer-decode".to_owned())
            .spawn_scoped(scope, move || pump(reader, accepted, limits, &filled, &free))
            .map_err(Error::Read)?;
        let mut pipe = Pipe { blocks, used, block: Vec::new(), position: 0, ended: false };
        let consumed = consume(&mut pipe);
        if consumed.is_ok() {
            while pipe.next_block() {}
        }
        // An early end is the pump's doing, and it knows the reason; else it only stops now.
        let ended = pipe.ended;
        drop(pipe);
        let pumped = pump
            .join()
            .unwrap_or_else(|_| Err(Error::Read(io::Error::other("the decoder panicked"))));
        match (consumed, pumped) {
            (Err(error), Ok(_)) => Err(error),
            (Err(error), Err(_)) if !ended => Err(error),
            (_, Err(error)) => Err(error),
            (Ok(value), Ok(stream)) => Ok((value, stream)),
        }
    })
}

/// Decodes and hashes until the end, an error, or nobody listens any more.
fn pump<R: Read + Send>(
    reader: R,
    accepted: Accepted,
    limits: &Limits,
    filled: &SyncSender<Vec<u8>>,
    free: &Receiver<Vec<u8>>,
) -> Result<Stream> {
    let mut decoder = decoder(reader, accepted, limits)?;
    let mut hash = Sha256::new();
    let mut size = 0u64;
    loop {
        let mut block = free.try_recv().unwrap_or_default();
        block.clear();
        (&mut decoder).take(BLOCK as u64).read_to_end(&mut block).map_err(Error::Read)?;
        if block.is_empty() {
            break;
        }
        size += block.len() as u64;
        if size > limits.archive_bytes {
            let limit = limits.archive_bytes;
            return Err(Error::Limit { what: "bytes of the uncompressed archive", limit });
        }
        hash.update(&block);
        if filled.send(block).is_err() {
            break;
        }
    }
    let diff_id = DiffId(Digest::from_sha256(hash.finalize().into()));
    Ok(Stream { diff_id, size })
}

impl Pipe {
    /// Whether there was another block.
    fn next_block(&mut self) -> bool {
        if self.ended {
            return false;
        }
        match self.blocks.recv() {
            Ok(block) => {
                // Full or closed: then the block is simply freed.
                let _ = self.used.try_send(std::mem::replace(&mut self.block, block));
            }
            Err(_) => {
                self.block.clear();
                self.ended = true;
            }
        }
        self.position = 0;
        !self.ended
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Pipe {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.block.len() {
            self.next_block();
        }
        Ok(&self.block[self.position..])
    }

    fn consume(&mut self, length: usize) {
        self.position = self.block.len().min(self.position + length);
    }
}
