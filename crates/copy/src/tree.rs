//! The contents of a directory, copied with everything below it.
//!
//! One thread walks the source, decides and makes the directories; plain files are left to `batch`.
//! What comes last is the metadata of directories: their modes may forbid writing, and every name
//! made in one moves its time.
//!
//! What is selected says `walk`. A directory that is excluded itself is made, with its own metadata,
//! once something below it is included.

use std::collections::HashMap;

use glob::IgnoreFile;
use rootfs::{FileKind, Metadata, RootPath};

use crate::batch::{Copiers, CopyFiles, Done};
use crate::destination::Destination;
use crate::file::{copy_file, dress};
use crate::request::Rules;
use crate::resolve::Look;
use crate::source::View;
use crate::threads::Shared;
use crate::walk::{Met, Walk};
use crate::{Error, Result};

/// A directory that is being copied.
struct Frame {
    from: RootPath,
    to: RootPath,
    metadata: Metadata,
    opened: Opened,
}

/// What has become of a directory's copy so far.
#[derive(Debug, Clone, Copy)]
enum Opened {
    /// Nothing yet: it is excluded, and nothing below it was included so far.
    Not,
    /// The destination itself: only its time is the source's.
    Top,
    /// It was made.
    Made,
    /// It was there, and gets the metadata of the source.
    Merged(Metadata),
    /// It was there and is only on the way to something included: it gets the mode alone.
    Passed(Metadata),
}

/// Copies directories of one source.
pub(crate) struct TreeCopy<'a, 'b, 'r> {
    view: View<'a>,
    /// The patterns of `--parents`: what is copied at all.
    include: Option<&'b IgnoreFile>,
    destination: &'b mut Destination<'a>,
    rules: &'b Rules<'r>,
    /// Where the first name of a file with several went.
    links: HashMap<((u32, u32), u64), RootPath>,
    /// The directories from the top down to where the walk is.
    stack: Vec<Frame>,
    /// Those whose copies wait for their final metadata; what is below comes before what is above.
    waiting: Vec<Frame>,
    /// Files that are left to one thread: from where to where.
    late: Vec<(RootPath, RootPath)>,
}

impl<'a, 'b, 'r> TreeCopy<'a, 'b, 'r> {
    pub(crate) fn new(
        view: View<'a>,
        include: Option<&'b IgnoreFile>,
        destination: &'b mut Destination<'a>,
        rules: &'b Rules<'r>,
    ) -> Self {
        let (links, late) = (HashMap::new(), Vec::new());
        let (stack, waiting) = (Vec::new(), Vec::new());
        Self { view, include, destination, rules, links, stack, waiting, late }
    }

    /// Copies the contents of the directory `from` into the directory `to`, which exists.
    pub(crate) fn copy_contents(
        mut self,
        from: &RootPath,
        metadata: &Metadata,
        to: &RootPath,
    ) -> Result<()> {
        if !self.destination.look(to)?.is_some_and(|found| found.is_dir()) {
            return Err(Error::IntoNonDirectory { path: to.clone() });
        }
        let mut walk = Walk::new(self.view, &self.rules.exclude, self.include, from)?;
        let (from, to) = (from.clone(), to.clone());
        self.stack.push(Frame { from, to, metadata: *metadata, opened: Opened::Top });
        let (source, root) = (self.view.tree.root, self.destination.root());
        let work = CopyFiles { source, root, rules: self.rules };
        let shared = Shared::new(&work);
        std::thread::scope(|scope| {
            let mut copiers = Copiers::new(scope, &shared, self.rules.threads);
            let walked = self.walk(&mut walk, &mut copiers);
            copiers.finish(walked, &mut |done| self.done(done))
        })?;
        for (from, to) in std::mem::take(&mut self.late) {
            self.file(&from, &to)?;
        }
        for directory in std::mem::take(&mut self.waiting) {
            self.leave(&directory)?;
        }
        Ok(())
    }

    fn walk(&mut self, walk: &mut Walk<'_, '_>, copiers: &mut Copiers<'_, '_, '_>) -> Result<()> {
        loop {
            self.rules.check_stop()?;
            match walk.step()? {
                None => return Ok(()),
                Some(Met::Directory { path, included }) => self.enter(path, included)?,
                Some(Met::Other { path, kind }) => {
                    self.open_above()?;
                    if !self.other(&path, kind, copiers)? {
                        return Ok(());
                    }
                }
                Some(Met::End) => self.waiting.extend(self.stack.pop()),
            }
        }
    }

    /// Records what a batch copied.
    fn done(&mut self, done: Done) -> Result<()> {
        self.destination.changed_names(&done.to, &done.names)?;
        done.warnings.into_iter().for_each(|warning| self.destination.warn(warning));
        self.late.extend(done.late);
        Ok(())
    }

    fn enter(&mut self, from: RootPath, included: bool) -> Result<()> {
        let Some(frame) = self.stack.last() else { return Ok(()) };
        let to = frame.to.join(from.file_name().unwrap_or_default())?;
        let metadata = self.view.tree.root.metadata(&from)?;
        let opened = if included {
            self.open_above()?;
            match self.open(&to)? {
                Some(old) => Opened::Merged(old),
                None => Opened::Made,
            }
        } else {
            Opened::Not
        };
        self.stack.push(Frame { from, to, metadata, opened });
        Ok(())
    }

    /// What is no directory: a plain file may wait, everything else is copied at once. Whether to
    /// go on.
    fn other(
        &mut self,
        from: &RootPath,
        kind: FileKind,
        copiers: &mut Copiers<'_, '_, '_>,
    ) -> Result<bool> {
        let Some(frame) = self.stack.last() else { return Ok(true) };
        let name = from.file_name().unwrap_or_default();
        let guarded = !self.destination.protected().is_empty();
        if kind != FileKind::File || guarded {
            let to = frame.to.join(name)?;
            self.destination.permit(&to)?;
            if kind != FileKind::File {
                return self.file(from, &to).map(|()| true);
            }
        }
        let (from, to) = (frame.from.clone(), frame.to.clone());
        copiers.add(&from, &to, name, &mut |done| self.done(done))
    }

    fn file(&mut self, from: &RootPath, to: &RootPath) -> Result<()> {
        let source = self.view.tree.root;
        let metadata = source.metadata(from)?;
        let identity = (metadata.dev, metadata.ino);
        let linked = if metadata.is_file() && metadata.nlink > 1 {
            let linked = self.links.get(&identity).cloned();
            self.links.entry(identity).or_insert_with(|| to.clone());
            linked
        } else {
            None
        };
        let linked = linked.as_ref();
        copy_file(source, from, &metadata, to, linked, self.destination, self.rules)
    }

    /// Makes the directory `to`, or says what is there.
    fn open(&mut self, to: &RootPath) -> Result<Option<Metadata>> {
        match self.destination.look(to)? {
            Some(found) if found.is_dir() => {
                self.destination.permit(to)?;
                Ok(Some(found))
            }
            Some(_) => Err(Error::IntoNonDirectory { path: to.clone() }),
            None => {
                // The final mode comes when the contents are in: it may forbid writing.
                let owner = self.rules.owner.unwrap_or_default();
                self.destination.make_directory(to, 0o700, owner)?;
                Ok(None)
            }
        }
    }

    /// Makes the directories above that were waiting for something to be included.
    fn open_above(&mut self) -> Result<()> {
        for level in 0..self.stack.len() {
            if !matches!(self.stack[level].opened, Opened::Not) {
                continue;
            }
            let to = self.stack[level].to.clone();
            self.stack[level].opened = match self.open(&to)? {
                Some(old) => Opened::Passed(old),
                None => Opened::Made,
            };
        }
        Ok(())
    }

    /// Gives a directory its final metadata, now that nothing more comes into it.
    fn leave(&mut self, frame: &Frame) -> Result<()> {
        let (root, source) = (self.destination.root(), self.view.tree.root);
        let old = match frame.opened {
            Opened::Not => return Ok(()),
            Opened::Top => {
                return self.destination.set_directory_time(&frame.to, frame.metadata.mtime);
            }
            Opened::Passed(old) => {
                root.set_mode(&frame.to, frame.metadata.mode)?;
                if old.mode != frame.metadata.mode {
                    self.destination.changed(&frame.to);
                }
                return Ok(());
            }
            Opened::Made => None,
            Opened::Merged(old) => Some((old, root.get_xattrs(&frame.to)?)),
        };
        dress(source, &frame.from, &frame.metadata, &frame.to, self.destination, self.rules)?;
        if let Some((old, attributes)) = old {
            let new = root.metadata(&frame.to)?;
            let alike = (old.mode, old.uid, old.gid) == (new.mode, new.uid, new.gid);
            if !alike || attributes != root.get_xattrs(&frame.to)? {
                self.destination.changed(&frame.to);
            }
        }
        Ok(())
    }
}
