//! One walk of the tree: records what is there, and compares it with what was.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rootfs::{
    ChangeSet, FileKind, Flow, Metadata, OpenDirectory, Order, RootDir, RootPath, VisitDirectories,
    WalkOptions, walk_directories,
};

use crate::baseline::Baseline;
use crate::clock::ScanStart;
use crate::content::{Fingerprint, fingerprint, of_attributes};
use crate::error::Error;
use crate::table::{FileState, Known, Table};
use crate::{Contents, ScanOptions};

/// Scans the tree, and compares it if there is something to compare with.
pub(crate) fn run(
    root: &RootDir,
    before: Option<Baseline>,
    options: &ScanOptions<'_>,
) -> Result<(ChangeSet, Baseline), Error> {
    let compares = before.is_some();
    let before = before.unwrap_or_default();
    let scan = Scan {
        start: ScanStart::now(),
        options: *options,
        in_memory: is_in_memory(root)?,
        compares,
        root_before: before.root,
        before: Mutex::new(before.directories),
        after: Mutex::new(Baseline::default()),
        found: Mutex::new(ChangeSet::new()),
    };
    let walk =
        WalkOptions { order: Order::Any, threads: options.threads, protected: options.protected };
    walk_directories(root, &RootPath::root(), &walk, &scan)?;
    let after = scan.after.into_inner().unwrap_or_else(PoisonError::into_inner);
    let found = scan.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((found, after))
}

/// Whether the root's file system keeps its files in memory only: then a write through a mapping
/// can leave all times as they are (the kernel asks only file systems that write back).
fn is_in_memory(root: &RootDir) -> Result<bool, Error> {
    const IN_MEMORY: [i64; 3] = [0x0102_1994, 0x8584_58f6, 0x9584_58f6];
    let found = rustix::fs::fstatfs(root)
        .map_err(|errno| Error::Read { path: RootPath::root(), source: errno.into() })?;
    Ok(IN_MEMORY.contains(&found.f_type))
}

/// One walk in progress.
struct Scan<'a> {
    start: ScanStart,
    options: ScanOptions<'a>,
    in_memory: bool,
    compares: bool,
    root_before: Option<FileState>,
    /// Taken out directory by directory, so that both baselines are never whole in memory.
    before: Mutex<HashMap<RootPath, Table>>,
    after: Mutex<Baseline>,
    found: Mutex<ChangeSet>,
}

/// What is gathered of one directory: its names so far, and what it was.
struct Gathered {
    table: Table,
    before: Table,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VisitDirectories for Scan<'_> {
    type Directory = Gathered;
    type Error = Error;

    fn open(&self, directory: &OpenDirectory) -> Result<Gathered, Error> {
        let before = lock(&self.before).remove(directory.path()).unwrap_or_default();
        let attributes = of_attributes(&directory.xattrs()?);
        Ok(Gathered { table: Table::new(attributes), before })
    }

    fn entry(
        &self,
        directory: &OpenDirectory,
        gathered: &mut Gathered,
        name: &[u8],
        metadata: &Metadata,
    ) -> Result<Flow, Error> {
        if metadata.kind == FileKind::Socket {
            return Ok(Flow::Continue);
        }
        let holder = directory.metadata();
        let mounted = holder.mount_id != metadata.mount_id;
        let state = if mounted { FileState::mounted(metadata) } else { FileState::new(metadata) };
        gathered
            .table
            .push(name, state)
            .ok_or_else(|| Error::DirectoryTooLarge { path: directory.path().clone() })?;
        Ok(Flow::Continue)
    }

    fn close(&self, directory: &OpenDirectory, gathered: Gathered) -> Result<(), Error> {
        let Gathered { table, before } = gathered;
        let mut comparison =
            Comparison { scan: self, directory, table: table.sorted(), changed: Vec::new() };
        comparison.own_attributes(&before)?;
        comparison.names(&before)?;
        let Comparison { table, changed, .. } = comparison;
        if self.compares {
            let mut found = lock(&self.found);
            for change in changed {
                match change {
                    Changed::Upserted(path) => found.upsert(&path),
                    Changed::Removed(path) => found.remove(&path),
                }
            }
        }
        let mut after = lock(&self.after);
        if directory.path().is_root() {
            after.root = Some(FileState::new(directory.metadata()));
        }
        after.directories.insert(directory.path().clone(), table);
        Ok(())
    }
}

enum Changed {
    Upserted(RootPath),
    Removed(RootPath),
}

/// The comparison of one directory with what it was.
struct Comparison<'s, 'a> {
    scan: &'s Scan<'a>,
    directory: &'s OpenDirectory,
    table: Table,
    changed: Vec<Changed>,
}

impl Comparison<'_, '_> {
    /// The directory's own attributes, which only now are known. (Its other metadata is a row of
    /// its parent's table, but for the root's.)
    fn own_attributes(&mut self, before: &Table) -> Result<(), Error> {
        let mut changed = self.table.attributes != before.attributes;
        if self.directory.path().is_root() {
            let now = FileState::new(self.directory.metadata());
            changed |= self.scan.root_before.is_some_and(|was| !was.same_but_times(&now));
        }
        if changed {
            self.changed.push(Changed::Upserted(self.directory.path().clone()));
        }
        Ok(())
    }

    /// Goes through both lists of names side by side.
    fn names(&mut self, before: &Table) -> Result<(), Error> {
        let (mut row, mut row_before) = (0, 0);
        loop {
            let (now, was) = (self.table.known(row), before.known(row_before));
            let order = match (&now, &was) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(now), Some(was)) => now.name.cmp(was.name),
            };
            match (order, was) {
                (std::cmp::Ordering::Greater, Some(was)) => {
                    self.removed(&was)?;
                    row_before += 1;
                }
                (std::cmp::Ordering::Equal, was) => {
                    self.present(row, was)?;
                    (row, row_before) = (row + 1, row_before + 1);
                }
                (_, _) => {
                    self.present(row, None)?;
                    row += 1;
                }
            }
        }
    }

    fn removed(&mut self, was: &Known<'_>) -> Result<(), Error> {
        let path = self.directory.child(was.name)?;
        // What is protected now was not listed: that does not mean it is gone.
        if !was.state.is_mounted() && !self.scan.options.protected.covers(&path) {
            self.changed.push(Changed::Removed(path));
        }
        Ok(())
    }

    /// A name that is there, and maybe was.
    fn present(&mut self, row: usize, was: Option<Known<'_>>) -> Result<(), Error> {
        let Some(now) = self.table.known(row) else { return Ok(()) };
        let (state, name) = (*now.state, now.name.to_vec());
        if state.is_mounted() {
            return Ok(());
        }
        // What a mount had hidden was there all the time.
        let hidden = was.is_some_and(|was| was.state.is_mounted());
        if state.is_dir() {
            if !hidden && was.is_none_or(|was| !was.state.same_in_layer(&state)) {
                self.upserted(&name)?;
            }
            return Ok(());
        }
        let mut verdict = self.scan.judge(&state, was);
        if hidden {
            verdict.same = Same::Yes(None);
        }
        let print = match (verdict.same, verdict.doubtful) {
            (Same::No | Same::Yes(None), false)
                if self.scan.options.contents != Contents::Known =>
            {
                None
            }
            (Same::Yes(None), false) if hidden => None,
            (Same::Yes(Some(known)), false) => Some(known),
            (_, _) => Some(self.fingerprint(&name)?),
        };
        if let Some(print) = print {
            self.table.remember(row, print, verdict.doubtful);
        }
        let same = match verdict.same {
            Same::No => false,
            Same::Yes(_) => true,
            Same::IfContentIs(before) => print == Some(before),
        };
        if !same {
            self.upserted(&name)?;
        }
        Ok(())
    }

    fn fingerprint(&self, name: &[u8]) -> Result<Fingerprint, Error> {
        let metadata = self.directory.metadata_of(name)?;
        fingerprint(self.directory, name, &metadata)
    }

    fn upserted(&mut self, name: &[u8]) -> Result<(), Error> {
        if !self.scan.compares {
            return Ok(());
        }
        let path = self.directory.child(name)?;
        if name.starts_with(b".wh.") {
            return Err(Error::WhiteoutName { path });
        }
        self.changed.push(Changed::Upserted(path));
        Ok(())
    }
}

/// What is to be done about one file.
struct Verdict {
    same: Same,
    /// Whether it could change again unseen by `stat`, so that its content must be known.
    doubtful: bool,
}

/// Whether a file is as before.
#[derive(Clone, Copy)]
enum Same {
    /// Without a look, and what is known of its content.
    Yes(Option<Fingerprint>),
    No,
    IfContentIs(Fingerprint),
}

impl Scan<'_> {
    fn judge(&self, now: &FileState, was: Option<Known<'_>>) -> Verdict {
        let doubtful = self.options.contents == Contents::All
            || self.in_memory
            || self.start.is_recent(now.ctime());
        let same = match was {
            Some(was) if was.state.same_in_layer(now) => self.compare(now, &was),
            _ => Same::No,
        };
        Verdict { same, doubtful }
    }

    /// For a file of which a layer would hold the same metadata.
    fn compare(&self, now: &FileState, was: &Known<'_>) -> Same {
        let trusted = !was.doubtful && self.options.contents != Contents::All;
        match was.fingerprint {
            known if trusted && was.state == now => Same::Yes(known),
            Some(before) => Same::IfContentIs(before),
            // Something touched it, and what it was before is not known.
            None => Same::No,
        }
    }
}
