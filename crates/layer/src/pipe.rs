//! The stream under an archive: decoded on one thread, hashed on another, read here.
//!
//! Decoding, hashing and making files overlap; between them lie a few blocks, never more. The
//! stream is always read to its end, beyond the end of the archive in it: only then is its digest
//! that of the layer.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use oci::DiffId;

use crate::decode::{Accepted, decoder};
use crate::digester::{Block, Digester, Spare};
use crate::error::{Error, Result};
use crate::limits::Limits;

const BLOCK: usize = 256 << 10;
const BLOCKS: usize = 4;

/// The decoded stream as the archive reader takes it.
pub(crate) struct Pipe {
    blocks: Receiver<Block>,
    /// Used blocks go back to be filled again.
    spare: Spare,
    block: Block,
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
    let (spare, free) = Spare::new(2 * BLOCKS + 4);
    let mut source = Source {
        decoder: decoder(reader, accepted, limits)?,
        digester: Digester::new(spare.clone()),
        limit: limits.archive_bytes,
    };
    let first = source.next_block(Vec::new())?;
    let (filled, blocks) = sync_channel(BLOCKS);
    let mut pipe =
        Pipe { blocks, spare, block: first.unwrap_or_default(), position: 0, ended: false };
    if pipe.block.len() < BLOCK {
        // That was all: not worth a thread.
        drop(filled);
        return Ok((consume(&mut pipe)?, source.finish()?));
    }
    std::thread::scope(|scope| {
        let pump = std::thread::Builder::new()
            .name("layer-decode".to_owned())
            .spawn_scoped(scope, move || pump(source, &filled, &free))
            .map_err(Error::Read)?;
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

/// Decodes and hashes.
struct Source<'a> {
    decoder: Box<dyn Read + Send + 'a>,
    digester: Digester,
    limit: u64,
}

impl Source<'_> {
    /// The next bytes, in the buffer that is given; a block that is not full is the last.
    fn next_block(&mut self, mut block: Vec<u8>) -> Result<Option<Block>> {
        block.clear();
        (&mut self.decoder).take(BLOCK as u64).read_to_end(&mut block).map_err(Error::Read)?;
        if block.is_empty() {
            return Ok(None);
        }
        let size = self.digester.size() + block.len() as u64;
        if size > self.limit {
            let what = "bytes of the uncompressed archive";
            return Err(Error::Limit { what, limit: self.limit });
        }
        let block: Block = Arc::new(block);
        let hashed = if block.len() < BLOCK {
            self.digester.update_here(&block)
        } else {
            self.digester.update(Arc::clone(&block))
        };
        hashed.map_err(Error::Read)?;
        Ok(Some(block))
    }

    fn finish(self) -> Result<Stream> {
        let size = self.digester.size();
        Ok(Stream { diff_id: self.digester.finish().map_err(Error::Read)?, size })
    }
}

/// Goes on until the end, an error, or nobody listens any more.
fn pump(
    mut source: Source<'_>,
    filled: &SyncSender<Block>,
    free: &Receiver<Vec<u8>>,
) -> Result<Stream> {
    while let Some(block) = source.next_block(free.try_recv().unwrap_or_default())? {
        if filled.send(block).is_err() {
            break;
        }
    }
    source.finish()
}

impl Pipe {
    /// Whether there was another block.
    fn next_block(&mut self) -> bool {
        if self.ended {
            return false;
        }
        match self.blocks.recv() {
            Ok(block) => {
                self.spare.give_back(std::mem::replace(&mut self.block, block));
            }
            Err(_) => {
                self.block = Block::default();
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
