//! The plain files of a tree, copied by several threads.
//!
//! The walk hands over names by the batch: files of one directory, which is opened once for all of
//! them. Files with several names or with something in their way are left to the walking thread, in
//! order.

use std::thread::Scope;

use rootfs::{RootDir, RootPath};

use crate::Result;
use crate::file::fill;
use crate::request::Rules;
use crate::threads::{NAMES, Shared, Threads, Work};

/// Files of one directory to be copied into another one.
pub(crate) struct Batch {
    from: RootPath,
    to: RootPath,
    names: Vec<Box<[u8]>>,
}

/// What came of a batch.
pub(crate) struct Done {
    /// The directory.
    pub(crate) to: RootPath,
    /// The names that were copied into it.
    pub(crate) names: Vec<Box<[u8]>>,
    /// What is to be looked at again by one thread: from where to where.
    pub(crate) late: Vec<(RootPath, RootPath)>,
    pub(crate) warnings: Vec<String>,
}

/// Copies files of one tree.
pub(crate) struct CopyFiles<'w> {
    pub(crate) source: &'w RootDir,
    pub(crate) root: &'w RootDir,
    pub(crate) rules: &'w Rules<'w>,
}

impl Work for CopyFiles<'_> {
    type Batch = Batch;
    type Done = Done;

    fn work(&self, batch: Batch) -> Result<Done> {
        let Batch { from, to, names } = batch;
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
        Ok(Done { to, names: copied, late, warnings })
    }
}

/// Threads that copy, and the batch that is being filled for them.
pub(crate) struct Copiers<'scope, 'env, 'w> {
    threads: Threads<'scope, 'env, CopyFiles<'w>>,
    filling: Option<Batch>,
}

impl<'scope, 'env, 'w> Copiers<'scope, 'env, 'w> {
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        shared: &'scope Shared<'scope, CopyFiles<'w>>,
        threads: usize,
    ) -> Self {
        Self { threads: Threads::new(scope, shared, threads), filling: None }
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
        let batch = self.filling.get_or_insert_with(|| Batch {
            from: from.clone(),
            to: to.clone(),
            names: Vec::new(),
        });
        batch.names.push(Box::from(name));
        Ok(self.threads.go_on())
    }

    fn submit(&mut self, done: &mut dyn FnMut(Done) -> Result<()>) -> Result<()> {
        let Some(batch) = self.filling.take() else { return Ok(()) };
        let files = batch.names.len();
        self.threads.submit(batch, files, done)
    }

    /// Waits for all files.
    pub(crate) fn finish(
        mut self,
        walked: Result<()>,
        done: &mut dyn FnMut(Done) -> Result<()>,
    ) -> Result<()> {
        let walked = walked.and(self.submit(done));
        self.threads.finish(walked, done)
    }
}
