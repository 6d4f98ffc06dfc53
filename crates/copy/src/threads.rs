//! Threads that work on batches of files, whose results come in the order of the batches.
//!
//! Nothing depends on which thread is faster: what follows a batch that is not finished waits, and
//! the failure that counts is that of the first batch that failed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::{Error, Result};

/// Files in one batch: enough to be worth opening a directory for.
pub(crate) const NAMES: usize = 256;
/// Batches that wait for a thread; what is in memory is bounded by them.
const WAITING: usize = 64;
/// Batches that may be begun when an earlier one, with a very long file, is not finished.
const AHEAD: usize = 512;
/// Files that are worked on before threads are started for the rest.
const ALONE: usize = 256;
/// More threads than this only wait for the file system's locks.
const MAX_THREADS: usize = 8;
/// How often a thread that waits for the others looks whether they live.
const LOOK: Duration = Duration::from_millis(100);

/// What is done with a batch.
pub(crate) trait Work: Sync {
    /// Some files.
    type Batch: Send;
    /// What came of them.
    type Done: Send;

    /// Works on one batch.
    fn work(&self, batch: Self::Batch) -> Result<Self::Done>;
}

/// What all threads know.
pub(crate) struct Shared<'w, W: Work> {
    work: &'w W,
    /// The first batch that failed.
    failed: AtomicUsize,
    waiting: Mutex<Option<Receiver<Numbered<W>>>>,
}

type Numbered<W> = (usize, <W as Work>::Batch);
type Answer<W> = (usize, Result<<W as Work>::Done>);

impl<'w, W: Work> Shared<'w, W> {
    pub(crate) fn new(work: &'w W) -> Self {
        Self { work, failed: AtomicUsize::new(usize::MAX), waiting: Mutex::new(None) }
    }

    /// One thread's share.
    fn serve(&self, answers: &Sender<Answer<W>>) {
        loop {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(Ok((number, batch))) = waiting.as_ref().map(Receiver::recv) else { return };
            drop(waiting);
            if answers.send(self.answer(number, batch)).is_err() {
                return;
            }
        }
    }

    /// Batches after a failed one need not be worked on any more.
    fn answer(&self, number: usize, batch: W::Batch) -> Answer<W> {
        if number > self.failed.load(Ordering::Acquire) {
            return (number, Err(Error::Stopped));
        }
        let done = self.work.work(batch);
        if done.is_err() {
            self.failed.fetch_min(number, Ordering::AcqRel);
        }
        (number, done)
    }
}

/// Threads at work, started when there is enough for them to do.
pub(crate) struct Threads<'scope, 'env, W: Work> {
    scope: &'scope Scope<'scope, 'env>,
    shared: &'scope Shared<'scope, W>,
    /// How many threads there may be.
    most: usize,
    started: Vec<ScopedJoinHandle<'scope, ()>>,
    /// How many batches there were, and how many files in those that were worked on alone.
    numbers: usize,
    alone: usize,
    sender: Option<SyncSender<Numbered<W>>>,
    answers: (Sender<Answer<W>>, Receiver<Answer<W>>),
    order: InOrder<W>,
}

impl<'scope, 'env, W: Work> Threads<'scope, 'env, W> {
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        shared: &'scope Shared<'scope, W>,
        threads: usize,
    ) -> Self {
        Self {
            scope,
            shared,
            most: threads.min(MAX_THREADS),
            started: Vec::new(),
            numbers: 0,
            alone: 0,
            sender: None,
            answers: channel(),
            order: InOrder { early: BTreeMap::new(), next: 0, failure: None },
        }
    }

    /// Whether nothing has failed so far. After a failure there is nothing more to submit.
    pub(crate) fn go_on(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire) == usize::MAX
    }

    /// Has the next batch of so many files worked on. What is finished meanwhile is given to
    /// `done`.
    pub(crate) fn submit(
        &mut self,
        batch: W::Batch,
        files: usize,
        done: &mut dyn FnMut(W::Done) -> Result<()>,
    ) -> Result<()> {
        let number = self.numbers;
        self.numbers += 1;
        if self.sender.is_none() && (self.most < 2 || self.alone < ALONE) {
            self.alone += files;
            return self.order.take(self.shared.answer(number, batch), done);
        }
        let sender = self.sender.get_or_insert_with(|| {
            let (sender, receiver) = sync_channel(WAITING);
            *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
            for _ in 0..self.most {
                let (shared, answers) = (self.shared, self.answers.0.clone());
                self.started.push(self.scope.spawn(move || shared.serve(&answers)));
            }
            sender
        });
        // The threads end only after the sender is gone.
        drop(sender.send((number, batch)));
        while let Ok(answer) = self.answers.1.try_recv() {
            self.order.take(answer, done)?;
        }
        while self.numbers - self.order.next > AHEAD && self.go_on() {
            match self.answers.1.recv_timeout(LOOK) {
                Ok(answer) => self.order.take(answer, done)?,
                // One that panicked leaves its batch; the scope will tell.
                Err(_) if self.started.iter().any(ScopedJoinHandle::is_finished) => break,
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Waits for all batches. The failure of the first one comes before one of the walk, which
    /// had submitted that batch before it failed itself.
    pub(crate) fn finish(
        self,
        walked: Result<()>,
        done: &mut dyn FnMut(W::Done) -> Result<()>,
    ) -> Result<()> {
        let Self { sender, answers, mut order, .. } = self;
        drop(sender);
        drop(answers.0);
        let mut walked = walked;
        for answer in answers.1 {
            walked = walked.and(order.take(answer, done));
        }
        match order.failure {
            Some(failure) => Err(failure),
            None => walked,
        }
    }
}

/// Results on their way into order.
struct InOrder<W: Work> {
    early: BTreeMap<usize, Result<W::Done>>,
    /// The batch whose result is handed on next.
    next: usize,
    failure: Option<Error>,
}

impl<W: Work> InOrder<W> {
    fn take(
        &mut self,
        (number, answer): Answer<W>,
        done: &mut dyn FnMut(W::Done) -> Result<()>,
    ) -> Result<()> {
        self.early.insert(number, answer);
        while let Some(answer) = self.early.remove(&self.next) {
            match answer {
                Ok(result) => {
                    self.next += 1;
                    done(result)?;
                }
                // Nothing after it is handed on.
                Err(error) => self.failure = Some(error),
            }
        }
        Ok(())
    }
}
