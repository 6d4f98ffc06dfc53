//! The threads that compress: blocks in, gzip members out, in the order of the blocks.
//!
//! A member depends on its block and the level alone, so it is the same whoever makes it.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::digester::{Block, Spare};
use crate::error::{Error, Result};

/// More workers than this do not help: the one thread that reads is the limit then.
const MAX_THREADS: usize = 8;

/// The threads, and what they have in hand, oldest first.
pub(crate) struct Pool {
    threads: usize,
    level: u32,
    jobs: Option<SyncSender<Job>>,
    pending: VecDeque<Receiver<Done>>,
    workers: Vec<JoinHandle<()>>,
    spare: Spare,
    /// Members that were written, to be overwritten.
    written: Vec<Member>,
}

/// A finished member: its first `length` bytes.
#[derive(Default)]
pub(crate) struct Member {
    buffer: Vec<u8>,
    length: usize,
}

impl Member {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

struct Job {
    block: Block,
    out: Member,
    reply: SyncSender<Done>,
}

type Done = Result<Member>;

impl Pool {
    pub(crate) fn new(threads: usize, level: u32, spare: Spare) -> Self {
        Self {
            threads: threads.clamp(1, MAX_THREADS),
            level,
            jobs: None,
            pending: VecDeque::new(),
            workers: Vec::new(),
            spare,
            written: Vec::new(),
        }
    }

    /// How many blocks are under way at most.
    pub(crate) fn room(threads: usize) -> usize {
        threads.clamp(1, MAX_THREADS) + 2
    }

    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= self.threads + 2
    }

    pub(crate) fn submit(&mut self, block: Block) -> Result<()> {
        let out = self.written.pop().unwrap_or_default();
        let jobs = match &self.jobs {
            Some(jobs) => jobs,
            None => self.start()?,
        };
        let (reply, done) = sync_channel(1);
        let job = Job { block, out, reply };
        jobs.send(job)
            .map_err(|_| Error::Sink(io::Error::other("the compressing threads ended")))?;
        self.pending.push_back(done);
        Ok(())
    }

    fn start(&mut self) -> Result<&SyncSender<Job>> {
        let (sender, receiver) = sync_channel(self.threads + 2);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..self.threads {
            let (receiver, spare, level) = (Arc::clone(&receiver), self.spare.clone(), self.level);
            let worker = std::thread::Builder::new()
                .name("layer-gzip".to_owned())
                .spawn(move || work(&receiver, &spare, level))
                .map_err(Error::Sink)?;
            self.workers.push(worker);
        }
        Ok(self.jobs.insert(sender))
    }

    /// The oldest member under way, once it is finished.
    pub(crate) fn next_member(&mut self) -> Result<Option<Member>> {
        let Some(done) = self.pending.pop_front() else { return Ok(None) };
        done.recv()
            .map_err(|_| Error::Sink(io::Error::other("a compressing thread ended early")))?
            .map(Some)
    }

    /// Takes back a member that is not needed any more.
    pub(crate) fn reuse(&mut self, member: Member) {
        self.written.push(member);
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

fn work(jobs: &Mutex<Receiver<Job>>, spare: &Spare, level: u32) {
    let mut compressor = Compressor::new(level);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, mut out, reply }) = job else { return };
        let made = compressor.member(&block, &mut out).map(|()| out);
        spare.give_back(block);
        // The writer has gone away after an error of its own: nobody wants this member.
        let _ = reply.send(made);
    }
}

/// Makes members of one level.
pub(crate) struct Compressor {
    level: u32,
    inner: Option<libdeflater::Compressor>,
}

impl Compressor {
    pub(crate) fn new(level: u32) -> Self {
        Self { level, inner: None }
    }

    /// One complete gzip member; the header states no time and no system.
    pub(crate) fn member(&mut self, block: &[u8], out: &mut Member) -> Result<()> {
        let compressor = match &mut self.inner {
            Some(compressor) => compressor,
            None => {
                let level = i32::try_from(self.level).ok();
                let level = level.and_then(|level| libdeflater::CompressionLvl::new(level).ok());
                let level =
                    level.ok_or_else(|| Error::Sink(io::Error::other("no such gzip level")))?;
                self.inner.insert(libdeflater::Compressor::new(level))
            }
        };
        let bound = compressor.gzip_compress_bound(block.len());
        if out.buffer.len() < bound {
            out.buffer.resize(bound, 0);
        }
        out.length = compressor
            .gzip_compress(block, &mut out.buffer)
            .map_err(|error| Error::Sink(io::Error::other(error.to_string())))?;
        Ok(())
    }
}
