//! One walk of the tree: records what is there, and compares it with what was.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rootfs::{
    ChangeSet, FileKind, Flow, Metadata, OpenDirectory, Order, RootDir, RootPath, VisitDirectories,
    WalkOptions, walk_directories,
};

use crate::baseline::Baseline;
use crate::clock::ScanStart;
use crate::content::{Fingerprint, fingerprint, of_attributes};
use crate::error::Error;
use crate::table::{Doubts, FileState, Known, Remembered, Row, Table};
use crate::trial::tells_every_write;
use crate::{Contents, ScanOptions};

/// Scans the tree, and compares it if there is something to compare with.
pub(crate) fn run(
    root: &RootDir,
    before: Option<Baseline>,
    options: &ScanOptions<'_>,
) -> Result<(ChangeSet, Baseline), Error> {
    let start = ScanStart::now();
    let compares = before.is_some();
    let before = before.unwrap_or_else(|| Baseline::new(start, RandomState::new()));
    let scan = Scan {
        start,
        repeatable: start.earliest_since(&before.start),
        options: *options,
        // Not even asked where no time is trusted anyway.
        trusts_times: options.contents != Contents::All && tells_every_write(root),
        compares,
        root_before: before.root,
        key: before.key.clone(),
        before: Mutex::new(before.directories),
        after: Mutex::new(Baseline::new(start, before.key)),
        found: Mutex::new(ChangeSet::new()),
    };
    let walk =
        WalkOptions { order: Order::Any, threads: options.threads, protected: options.protected };
    walk_directories(root, &RootPath::root(), &walk, &scan)?;
    let after = scan.after.into_inner().unwrap_or_else(PoisonError::into_inner);
    let found = scan.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((found, after))
}

/// One walk in progress.
struct Scan<'a> {
    start: ScanStart,
    /// The earliest ctime that may have been given out since the scan before.
    repeatable: ScanStart,
    options: ScanOptions<'a>,
    trusts_times: bool,
    compares: bool,
    root_before: Option<FileState>,
    key: RandomState,
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
        let mounted = directory.metadata().mount_id != metadata.mount_id;
        let state =
            if mounted { FileState::mounted() } else { FileState::new(metadata, &self.key) };
        gathered
            .table
            .push(name, state, self.doubts(metadata))
            .ok_or_else(|| Error::DirectoryTooLarge { path: directory.path().clone() })?;
        Ok(Flow::Continue)
    }

    fn close(&self, directory: &OpenDirectory, gathered: Gathered) -> Result<(), Error> {
        let Gathered { table, before } = gathered;
        let mut table = table.sorted();
        let mut comparison =
            Comparison { scan: self, directory, changed: Vec::new(), fingerprints: Vec::new() };
        comparison.own_attributes(&table, &before)?;
        comparison.names(&table, &before)?;
        let Comparison { changed, fingerprints, .. } = comparison;
        table.remember(fingerprints);
        if !changed.is_empty() {
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
            after.root = Some(FileState::of_root(directory.metadata(), &self.key));
        }
        after.directories.insert(directory.path().clone(), table);
        Ok(())
    }
}

impl Scan<'_> {
    fn doubts(&self, metadata: &Metadata) -> Doubts {
        let always = !self.trusts_times;
        Doubts {
            later: always || self.start.is_recent(metadata.ctime),
            before: always || self.repeatable.is_recent(metadata.ctime),
        }
    }
}

enum Changed {
    Upserted(RootPath),
    Removed(RootPath),
}

/// Whether a file is as before.
#[derive(Clone, Copy)]
enum Same {
    /// Without a look, and what is known of its content.
    Yes(Option<Fingerprint>),
    No,
    IfContentIs(Fingerprint),
}

/// The comparison of one directory with what it was.
struct Comparison<'s, 'a> {
    scan: &'s Scan<'a>,
    directory: &'s OpenDirectory,
    changed: Vec<Changed>,
    fingerprints: Vec<Remembered>,
}

impl Comparison<'_, '_> {
    /// The directory's own attributes, which only now are known. (Its other metadata is a row of
    /// its parent's table, but for the root's.)
    fn own_attributes(&mut self, table: &Table, before: &Table) -> Result<(), Error> {
        let mut changed = table.attributes != before.attributes;
        if self.directory.path().is_root() {
            let now = FileState::of_root(self.directory.metadata(), &self.scan.key);
            changed |= self.scan.root_before.is_some_and(|was| !was.same_in_layer(&now));
        }
        if changed && self.scan.compares {
            self.changed.push(Changed::Upserted(self.directory.path().clone()));
        }
        Ok(())
    }

    /// Goes through both lists of names side by side.
    fn names(&mut self, table: &Table, before: &Table) -> Result<(), Error> {
        let mut were = before.known().peekable();
        for ((name, row), index) in table.rows().zip(0..) {
            while let Some(gone) = were.next_if(|was| was.name < name) {
                self.removed(&gone)?;
            }
            let was = were.next_if(|was| was.name == name);
            let state = row.state();
            if state.is_dir() {
                self.directory(name, &state, was)?;
            } else if !state.is_mounted() {
                self.file(index, name, row, was)?;
            }
        }
        were.try_for_each(|gone| self.removed(&gone))
    }

    fn removed(&mut self, was: &Known<'_>) -> Result<(), Error> {
        let path = self.directory.child(was.name)?;
        // What is protected now was not listed: that does not mean it is gone.
        if !was.state.is_mounted() && !self.scan.options.protected.covers(&path) {
            self.changed.push(Changed::Removed(path));
        }
        Ok(())
    }

    /// A directory that is there, and maybe was.
    fn directory(
        &mut self,
        name: &[u8],
        now: &FileState,
        was: Option<Known<'_>>,
    ) -> Result<(), Error> {
        match was {
            Some(was) if was.state.same_in_layer(now) || was.state.is_mounted() => Ok(()),
            Some(_) | None => self.upserted(name),
        }
    }

    /// A name of anything else that is there, and maybe was.
    fn file(
        &mut self,
        index: u32,
        name: &[u8],
        row: &Row,
        was: Option<Known<'_>>,
    ) -> Result<(), Error> {
        let same = self.compare(row, was);
        let knows_all = self.scan.options.contents == Contents::Known;
        let fingerprint = match same {
            Same::Yes(Some(known)) if !row.doubts.later => Some(known),
            Same::Yes(_) | Same::No if !row.doubts.later && !knows_all => None,
            Same::Yes(_) | Same::No | Same::IfContentIs(_) => Some(self.fingerprint(name)?),
        };
        let changed = match same {
            Same::No => true,
            Same::Yes(_) => false,
            Same::IfContentIs(before) => fingerprint != Some(before),
        };
        self.fingerprints
            .extend(fingerprint.map(|fingerprint| Remembered { row: index, fingerprint }));
        if changed { self.upserted(name) } else { Ok(()) }
    }

    fn compare(&self, row: &Row, was: Option<Known<'_>>) -> Same {
        let now = row.state();
        match was {
            None => Same::No,
            // What a mount had hidden was there all the time.
            Some(was) if was.state.is_mounted() => Same::Yes(None),
            Some(was) if !was.state.same_in_layer(&now) => Same::No,
            Some(was) if was.state == now && !was.doubtful && !row.doubts.before => {
                Same::Yes(was.fingerprint)
            }
            // Something touched it, or could have: what was in it tells, if it is known.
            Some(was) => was.fingerprint.map_or(Same::No, Same::IfContentIs),
        }
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
