//! The plain files of a tree, copied by several threads.
//!
//! The walk hands over names by the batch: files of one directory, which is opened once for all of
//! them. Nothing depends on which thread is faster: what was done is told with the batch's number,
//! the failure that counts is that of the first batch, and files with several names or with
//! something in their way are left to the walking thread, in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;

use rootfs::{RootDir, RootPath};

use crate::file::fill;
use crate::request::Rules;
use crate::{Error, Result};

/// Names in one batch: enough to be worth opening two directories for.
const NAMES: usize = 256;
/// Batches that wait for a thread; what is in memory is bounded by them.
const WAITING: usize = 64;
/// Files that are copied before threads are started for the rest.
const ALONE: usize = 256;
/// More threads than this only wait for the file system's locks.
const MAX_THREADS: usize = 8;

/// Files of one directory to be copied into another one.
pub(crate) struct Batch {
    number: usize,
    from: RootPath,
    to: RootPath,
    names: Vec<Box<[u8]>>,
}

/// What came of a batch.
pub(crate) struct Done {
    number: usize,
    /// The directory.
    pub(crate) to: RootPath,
    /// The names that were copied into it.
    pub(crate) names: Vec<Box<[u8]>>,
    /// What is to be looked at again by one thread: from where to where.
    late: Vec<(RootPath, RootPath)>,
    warnings: Vec<String>,
}

/// What all threads know.
pub(crate) struct Work<'w> {
    source: &'w RootDir,
    root: &'w RootDir,
    rules: &'w Rules<'w>,
    /// The first batch that failed.
    failed: AtomicUsize,
    waiting: Mutex<Option<Receiver<Batch>>>,
}

impl<'w> Work<'w> {
    pub(crate) fn new(source: &'w RootDir, root: &'w RootDir, rules: &'w Rules<'w>) -> Self {
        let failed = AtomicUsize::new(usize::MAX);
        Self { source, root, rules, failed, waiting: Mutex::new(None) }
    }

    /// One thread's share. Batches after a failed one need not be copied any more.
    fn work(&self, answers: &Sender<Answer>) {
        loop {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(Ok(batch)) = waiting.as_ref().map(Receiver::recv) else { return };
            drop(waiting);
            if answers.send(self.batch(batch)).is_err() {
                return;
            }
        }
    }

    fn batch(&self, batch: Batch) -> Answer {
        let number = batch.number;
        if number > self.failed.load(Ordering::Acquire) {
            return Err(Failure { number, error: Error::Stopped });
        }
        self.copy(batch).map_err(|error| {
            self.failed.fetch_min(number, Ordering::AcqRel);
            Failure { number, error }
        })
    }

    fn copy(&self, batch: Batch) -> Result<Done> {
        let Batch { number, from, to, names } = batch;
        let (mut late, mut warnings) = (Vec::new(), Vec::new());
        let (source, target) = (self.source.directory(&from)?, self.root.directory(&to)?);
        let mut copied = Vec::with_capacity(names.len());
        for name in names {
            self.rules.check_stop()?;
            let (file, metadata) = source.open_regular(&name)?;
            // The names of one file belong together.
            let alone = metadata.nlink == 1;
            let copy = match alone {
                true => target.create_regular(&name, self.rules.mode(&metadata))?,
                false => None,
            };
            match copy {
                Some(copy) => {
                    fill(&file, &metadata, &copy, self.rules, &mut |text| warnings.push(text))?;
                    drop((file, copy));
                    copied.push(name);
                }
                None => late.push((from.join(&name)?, to.join(&name)?)),
            }
        }
        Ok(Done { number, to, names: copied, late, warnings })
    }
}

type Answer = Result<Done, Failure>;

/// Why a batch could not be copied.
struct Failure {
    number: usize,
    error: Error,
}

/// Threads at work, started when there is enough for them to do.
pub(crate) struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    work: &'scope Work<'scope>,
    /// The batch that is being filled.
    filling: Option<Batch>,
    /// How many batches there were, and how many files in those that were copied alone.
    numbers: usize,
    alone: usize,
    sender: Option<SyncSender<Batch>>,
    answers: (Sender<Answer>, Receiver<Answer>),
    outcome: Outcome,
}

/// What all batches left besides their copies.
#[derive(Default)]
pub(crate) struct Outcome {
    failure: Option<Failure>,
    late: BTreeMap<usize, Vec<(RootPath, RootPath)>>,
    warnings: BTreeMap<usize, Vec<String>>,
}

impl Outcome {
    /// The warnings, and what one thread has to look at, both in the order of the walk.
    pub(crate) fn in_order(self) -> (Vec<String>, Vec<(RootPath, RootPath)>) {
        let warnings = self.warnings.into_values().flatten().collect();
        (warnings, self.late.into_values().flatten().collect())
    }
}

impl<'scope, 'env> Threads<'scope, 'env> {
    pub(crate) fn new(scope: &'scope Scope<'scope, 'env>, work: &'scope Work<'scope>) -> Self {
        Self {
            scope,
            work,
            filling: None,
            numbers: 0,
            alone: 0,
            sender: None,
            answers: channel(),
            outcome: Outcome::default(),
        }
    }

    /// Adds a file of the directory `from`, to be copied into the directory `to`. The batches that
    /// were finished meanwhile are given to `done`. After a failure there is nothing more to add:
    /// false.
    pub(crate) fn add(
        &mut self,
        from: &RootPath,
        to: &RootPath,
        name: &[u8],
        done: &mut dyn FnMut(Done) -> Result<()>,
    ) -> Result<bool> {
        if self.filling.as_ref().is_some_and(|batch| batch.names.len() >= NAMES || batch.to != *to)
        {
            self.submit(done)?;
        }
        let number = self.numbers;
        let batch = self.filling.get_or_insert_with(|| Batch {
            number,
            from: from.clone(),
            to: to.clone(),
            names: Vec::new(),
        });
        batch.names.push(Box::from(name));
        Ok(self.work.failed.load(Ordering::Acquire) == usize::MAX)
    }

    fn submit(&mut self, done: &mut dyn FnMut(Done) -> Result<()>) -> Result<()> {
        let Some(batch) = self.filling.take() else { return Ok(()) };
        self.numbers += 1;
        let threads = self.work.rules.threads.min(MAX_THREADS);
        if self.sender.is_none() && (threads < 2 || self.alone < ALONE) {
            self.alone += batch.names.len();
            let answer = self.work.batch(batch);
            return self.outcome.take(answer, done);
        }
        let sender = self.sender.get_or_insert_with(|| {
            let (sender, receiver) = sync_channel(WAITING);
            *self.work.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
            for _ in 0..threads {
                let (work, answers) = (self.work, self.answers.0.clone());
                self.scope.spawn(move || work.work(&answers));
            }
            sender
        });
        // The threads end only after the sender is gone.
        drop(sender.send(batch));
        while let Ok(answer) = self.answers.1.try_recv() {
            self.outcome.take(answer, done)?;
        }
        Ok(())
    }

    /// Waits for all batches. The failure of the first one comes before one of the walk, which
    /// had added that batch before it failed itself.
    pub(crate) fn finish(
        mut self,
        walked: Result<()>,
        done: &mut dyn FnMut(Done) -> Result<()>,
    ) -> Result<Outcome> {
        let submitted = self.submit(done);
        let Self { sender, answers, mut outcome, .. } = self;
        drop(sender);
        drop(answers.0);
        for answer in answers.1 {
            outcome.take(answer, done)?;
        }
        match outcome.failure.take() {
            Some(failure) => Err(failure.error),
            None => walked.and(submitted).map(|()| outcome),
        }
    }
}

impl Outcome {
    fn take(&mut self, answer: Answer, done: &mut dyn FnMut(Done) -> Result<()>) -> Result<()> {
        match answer {
            Ok(mut batch) => {
                let (late, warnings) =
                    (std::mem::take(&mut batch.late), std::mem::take(&mut batch.warnings));
                if !late.is_empty() {
                    self.late.insert(batch.number, late);
                }
                if !warnings.is_empty() {
                    self.warnings.insert(batch.number, warnings);
                }
                done(batch)
            }
            Err(failure) => {
                if self.failure.as_ref().is_none_or(|first| failure.number < first.number) {
                    self.failure = Some(failure);
                }
                Ok(())
            }
        }
    }
}
