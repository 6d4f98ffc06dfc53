//! A digest that is computed beside the work: on a thread of its own, as soon as there is enough.
//!
//! Blocks are shared with whoever compresses or writes them; the last one to be done with a block
//! gives it back to be filled again.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use oci::{DiffId, Digest};
use sha2::{Digest as _, Sha256};

/// Bytes in hand, shared by those who only read them.
pub(crate) type Block = Arc<Vec<u8>>;

/// Blocks under way to the thread that hashes.
const WAITING: usize = 4;

/// Where used blocks go, and where empty ones come from.
#[derive(Clone)]
pub(crate) struct Spare(SyncSender<Vec<u8>>);

impl Spare {
    /// A place for `count` blocks, and the end where they come out again.
    pub(crate) fn new(count: usize) -> (Self, Receiver<Vec<u8>>) {
        let (used, free) = sync_channel(count);
        (Self(used), free)
    }

    /// Gives a block back; whoever is the last to do so really does.
    pub(crate) fn give_back(&self, block: Block) {
        if let Some(block) = Arc::into_inner(block) {
            // Full or closed: then the block is simply freed.
            let _ = self.0.try_send(block);
        }
    }
}

/// The running digest of a stream of blocks.
pub(crate) struct Digester {
    place: Place,
    spare: Spare,
    size: u64,
}

enum Place {
    Here(Sha256),
    There(SyncSender<Block>, JoinHandle<Sha256>),
    /// Its thread is gone.
    Nowhere,
}

impl Digester {
    pub(crate) fn new(spare: Spare) -> Self {
        Self { place: Place::Here(Sha256::new()), spare, size: 0 }
    }

    /// The number of bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Hashes on the thread that calls: for the few bytes that are not worth another one.
    pub(crate) fn update_here(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Place::Here(hash) = &mut self.place {
            hash.update(bytes);
            self.size += bytes.len() as u64;
            return Ok(());
        }
        self.update(Arc::new(bytes.to_vec()))
    }

    /// Hashes on another thread.
    pub(crate) fn update(&mut self, block: Block) -> io::Result<()> {
        self.size += block.len() as u64;
        let place = std::mem::replace(&mut self.place, Place::Nowhere);
        let (blocks, thread) = match place {
            Place::Here(hash) => self.start(hash)?,
            Place::There(blocks, thread) => (blocks, thread),
            Place::Nowhere => return Err(io::Error::other("the hashing thread could not start")),
        };
        let sent = blocks.send(block);
        self.place = Place::There(blocks, thread);
        sent.map_err(|_| io::Error::other("the hashing thread ended early"))
    }

    fn start(&self, mut hash: Sha256) -> io::Result<(SyncSender<Block>, JoinHandle<Sha256>)> {
        let (sender, blocks) = sync_channel::<Block>(WAITING);
        let spare = self.spare.clone();
        let thread =
            std::thread::Builder::new().name("layer-hash".to_owned()).spawn(move || {
                for block in blocks {
                    hash.update(&*block);
                    spare.give_back(block);
                }
                hash
            })?;
        Ok((sender, thread))
    }

    /// The digest of all bytes.
    pub(crate) fn finish(self) -> io::Result<DiffId> {
        let hash = match self.place {
            Place::Here(hash) => hash,
            Place::There(blocks, thread) => {
                drop(blocks);
                thread.join().map_err(|_| io::Error::other("the hashing thread panicked"))?
            }
            Place::Nowhere => return Err(io::Error::other("the hashing thread could not start")),
        };
        Ok(DiffId(Digest::from_sha256(hash.finalize().into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest does not depend on where it is computed.
    fn check(pieces: &[(&str, bool)]) {
        let (spare, free) = Spare::new(8);
        let mut digester = Digester::new(spare);
        let mut whole = Vec::new();
        let mut elsewhere = 0;
        for (piece, here) in pieces {
            whole.extend_from_slice(piece.as_bytes());
            let hashed = if *here {
                digester.update_here(piece.as_bytes())
            } else {
                elsewhere += 1;
                digester.update(Arc::new(piece.as_bytes().to_vec()))
            };
            hashed.expect("because threads can be started");
        }
        assert_eq!(digester.size(), whole.len() as u64);
        let found = digester.finish().expect("because the thread lives");
        assert_eq!(found, DiffId(Digest::sha256_of(&whole)));
        assert!(free.try_iter().count() >= elsewhere);
    }

    #[test]
    fn here_and_there_give_one_digest() {
        check(&[]);
        check(&[("one", true), ("two", true)]);
        check(&[("one", false), ("two", false)]);
        check(&[("one", true), ("two", false), ("three", true)]);
    }
}
