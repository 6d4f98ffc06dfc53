//! The contents of a directory, copied with everything below it.
//!
//! One thread walks the source, decides and makes the directories; plain files are left to `batch`.
//! What comes last is the metadata of directories: their modes may forbid writing, and every name
//! made in one moves its time.
//!
//! A directory that is excluded itself is still walked where something below it can be included,
//! and made, with its own metadata, once something is. Nothing here recurses on the stack, so depth
//! is bounded by paths alone.

use std::collections::HashMap;

use glob::{IgnoreFile, Verdict};
use rootfs::{FileKind, Metadata, RootPath};

use crate::batch::{Done, Outcome, Threads, Work};
use crate::destination::Destination;
use crate::file::{copy_file, dress};
use crate::request::Rules;
use crate::resolve::Look;
use crate::source::View;
use crate::{Error, Result};

/// What the patterns say about one path: the context's, `--exclude` and those of `--parents`.
#[derive(Debug, Clone, Default)]
struct Verdicts {
    ignore: Verdict,
    exclude: Verdict,
    include: Verdict,
}

/// A directory that is being copied.
struct Frame {
    from: RootPath,
    to: RootPath,
    metadata: Metadata,
    verdicts: Verdicts,
    names: std::vec::IntoIter<(RootPath, FileKind)>,
    opened: Opened,
}

/// A directory whose copy waits for its final metadata.
struct Waiting {
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
    top: RootPath,
    stack: Vec<Frame>,
    /// What is below comes before what is above.
    waiting: Vec<Waiting>,
}

impl<'a, 'b, 'r> TreeCopy<'a, 'b, 'r> {
    pub(crate) fn new(
        view: View<'a>,
        include: Option<&'b IgnoreFile>,
        destination: &'b mut Destination<'a>,
        rules: &'b Rules<'r>,
    ) -> Self {
        let (top, links) = (RootPath::root(), HashMap::new());
        let (stack, waiting) = (Vec::new(), Vec::new());
        Self { view, include, destination, rules, links, top, stack, waiting }
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
        self.top = from.clone();
        let verdicts = Verdicts { ignore: self.view.verdict(from), ..Verdicts::default() };
        self.enter(from.clone(), to.clone(), *metadata, verdicts, Opened::Top)?;
        let work = Work::new(self.view.tree.root, self.destination.root(), self.rules);
        let outcome = std::thread::scope(|scope| -> Result<Outcome> {
            let mut threads = Threads::new(scope, &work);
            let walked = self.walk(&mut threads);
            threads.finish(walked, &mut |done| self.done(&done))
        })?;
        let (warnings, late) = outcome.in_order();
        warnings.into_iter().for_each(|warning| self.destination.warn(warning));
        for (from, to) in late {
            self.file(&from, &to)?;
        }
        for directory in std::mem::take(&mut self.waiting) {
            self.leave(&directory)?;
        }
        Ok(())
    }

    fn walk(&mut self, threads: &mut Threads<'_, '_>) -> Result<()> {
        while let Some(frame) = self.stack.last_mut() {
            match frame.names.next() {
                Some((path, kind)) => {
                    if !self.entry(path, kind, threads)? {
                        return Ok(());
                    }
                }
                None => {
                    if let Some(Frame { from, to, metadata, opened, .. }) = self.stack.pop() {
                        self.waiting.push(Waiting { from, to, metadata, opened });
                    }
                }
            }
        }
        Ok(())
    }

    /// Records what a batch copied.
    fn done(&mut self, done: &Done) -> Result<()> {
        self.destination.changed_names(&done.to, &done.names)
    }

    fn enter(
        &mut self,
        from: RootPath,
        to: RootPath,
        metadata: Metadata,
        verdicts: Verdicts,
        opened: Opened,
    ) -> Result<()> {
        let mut names = self.view.names(&from)?;
        // Files first, so that those of one directory are copied together.
        names.sort_by_key(|(_, kind)| *kind == FileKind::Directory);
        let names = names.into_iter();
        self.stack.push(Frame { from, to, metadata, verdicts, names, opened });
        Ok(())
    }

    /// Whether to go on.
    fn entry(
        &mut self,
        from: RootPath,
        kind: FileKind,
        threads: &mut Threads<'_, '_>,
    ) -> Result<bool> {
        self.rules.check_stop()?;
        let Some(frame) = self.stack.last() else { return Ok(true) };
        let relative = from.strip_prefix(&self.top).unwrap_or_default();
        let verdicts = Verdicts {
            ignore: self.view.judge(&frame.verdicts.ignore, &from),
            exclude: self.rules.exclude.judge(&frame.verdicts.exclude, relative),
            include: match self.include {
                Some(patterns) => patterns.judge(&frame.verdicts.include, relative),
                None => Verdict::default(),
            },
        };
        let included = !verdicts.ignore.is_excluded()
            && !verdicts.exclude.is_excluded()
            && (self.include.is_none() || verdicts.include.is_excluded());
        if kind == FileKind::Directory {
            if !included && !self.may_include_below(&from, relative, &verdicts) {
                return Ok(true);
            }
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
            self.enter(from, to, metadata, verdicts, opened)?;
            return Ok(true);
        }
        if !included {
            return Ok(true);
        }
        self.open_above()?;
        self.other(&from, kind, threads)
    }

    /// What is no directory: a plain file may wait, everything else is copied at once.
    fn other(
        &mut self,
        from: &RootPath,
        kind: FileKind,
        threads: &mut Threads<'_, '_>,
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
        threads.add(&from, &to, name, &mut |done| self.done(&done))
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

    /// Whether something below an excluded directory can be included.
    fn may_include_below(&self, from: &RootPath, relative: &[u8], verdicts: &Verdicts) -> bool {
        self.view.may_hold(&verdicts.ignore, from)
            && self.rules.exclude.may_include_below(&verdicts.exclude, relative)
            && self
                .include
                .is_none_or(|patterns| patterns.may_exclude_below(&verdicts.include, relative))
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
    fn leave(&mut self, frame: &Waiting) -> Result<()> {
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
