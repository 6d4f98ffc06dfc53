//! What a baseline remembers of one directory: compact, because there may be a million names.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use rootfs::{FileKind, Metadata, Timestamp};

use crate::content::Fingerprint;

/// What `stat` said about one name, as two keyed hashes: it is only ever asked whether something
/// is as it was, and the answers themselves would take four times as much memory. The key is
/// random, so one change in 2^64 is taken for none, and nobody can choose which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    /// Of what a layer would hold.
    in_layer: u64,
    /// Of that and all the rest.
    whole: u64,
    kind: Kind,
}

/// A file's kind, or that the name belongs to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    Other,
    /// A mount point: what is seen there is not part of this tree.
    Mounted,
}

impl FileState {
    pub(crate) fn new(metadata: &Metadata, key: &RandomState) -> FileState {
        let is_dir = metadata.is_dir();
        let mut hasher = key.build_hasher();
        (metadata.kind, metadata.mode, metadata.uid, metadata.gid).hash(&mut hasher);
        metadata.mtime.hash(&mut hasher);
        // The size of a directory is the file system's own affair.
        if !is_dir {
            let device = matches!(metadata.kind, FileKind::BlockDevice | FileKind::CharDevice);
            if device { metadata.rdev.hash(&mut hasher) } else { metadata.size.hash(&mut hasher) }
        }
        let in_layer = hasher.finish();
        (metadata.dev, metadata.ino, metadata.nlink, metadata.ctime).hash(&mut hasher);
        let kind = if is_dir { Kind::Directory } else { Kind::Other };
        FileState { in_layer, whole: hasher.finish(), kind }
    }

    pub(crate) fn mounted() -> FileState {
        FileState { in_layer: 0, whole: 0, kind: Kind::Mounted }
    }

    /// The root directory: all but its times.
    pub(crate) fn of_root(metadata: &Metadata, key: &RandomState) -> FileState {
        FileState::new(&Metadata { mtime: Timestamp::default(), ..*metadata }, key)
    }

    pub(crate) fn is_mounted(&self) -> bool {
        self.kind == Kind::Mounted
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether a layer would hold the same metadata.
    pub(crate) fn same_in_layer(&self, other: &FileState) -> bool {
        (self.in_layer, self.kind) == (other.in_layer, other.kind)
    }
}

/// How far the state of a file can be trusted to tell of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubts {
    /// It could change after this scan and look the same.
    pub(crate) later: bool,
    /// It could have changed since the scan before, and look the same.
    pub(crate) before: bool,
}

/// One name of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    in_layer: u64,
    whole: u64,
    /// Where the name ends in [`Table::names`]; it begins where the one before ends.
    end: u32,
    kind: Kind,
    pub(crate) doubts: Doubts,
}

impl Row {
    pub(crate) fn state(&self) -> FileState {
        FileState { in_layer: self.in_layer, whole: self.whole, kind: self.kind }
    }
}

/// The content of one row's file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembered {
    pub(crate) row: u32,
    pub(crate) fingerprint: Fingerprint,
}

/// The names of one directory, sorted, with what was known about each.
#[derive(Debug, Default)]
pub(crate) struct Table {
    names: Vec<u8>,
    rows: Vec<Row>,
    /// By row, ordered; often only a few rows have one.
    fingerprints: Vec<Remembered>,
    /// Of the directory's own attributes.
    pub(crate) attributes: Option<Fingerprint>,
}

/// One name of a table and what is known about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'t> {
    pub(crate) name: &'t [u8],
    pub(crate) state: FileState,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Whether it could have changed without any of `state` moving.
    pub(crate) doubtful: bool,
}

impl Table {
    pub(crate) fn new(attributes: Option<Fingerprint>) -> Table {
        Table { attributes, ..Table::default() }
    }

    /// Adds a name; `None` if the table is full.
    pub(crate) fn push(&mut self, name: &[u8], state: FileState, doubts: Doubts) -> Option<()> {
        let end = u32::try_from(self.names.len().checked_add(name.len())?).ok()?;
        self.names.extend_from_slice(name);
        let FileState { in_layer, whole, kind } = state;
        self.rows.push(Row { in_layer, whole, end, kind, doubts });
        Some(())
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    fn name(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(0, |before| self.rows[before].end);
        // Ends are made from lengths of what is in memory.
        &self.names[start as usize..self.rows[row].end as usize]
    }

    /// Brings the names in order, in no more memory than they need. Before this, rows have no
    /// fingerprints.
    pub(crate) fn sorted(self) -> Table {
        let mut order: Vec<u32> = (0..).take(self.rows.len()).collect();
        order.sort_unstable_by(|a, b| self.name(*a as usize).cmp(self.name(*b as usize)));
        let mut sorted = Table {
            names: Vec::with_capacity(self.names.len()),
            rows: Vec::with_capacity(self.rows.len()),
            fingerprints: Vec::new(),
            attributes: self.attributes,
        };
        for row in order {
            let row = row as usize;
            let Row { doubts, .. } = self.rows[row];
            sorted
                .push(self.name(row), self.rows[row].state(), doubts)
                .expect("because the same names fitted before");
        }
        sorted
    }

    /// Sets the fingerprints, which come ordered by row.
    pub(crate) fn remember(&mut self, fingerprints: Vec<Remembered>) {
        self.fingerprints = fingerprints;
        self.fingerprints.shrink_to_fit();
    }

    /// The names and their rows, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[u8], &Row)> {
        let mut start = 0;
        self.rows.iter().map(move |row| {
            let end = row.end as usize;
            (&self.names[std::mem::replace(&mut start, end)..end], row)
        })
    }

    /// All that is known, in order.
    pub(crate) fn known(&self) -> impl Iterator<Item = Known<'_>> {
        let mut fingerprints = self.fingerprints.iter().peekable();
        self.rows().zip(0..).map(move |((name, row), index)| Known {
            name,
            state: row.state(),
            fingerprint: fingerprints
                .next_if(|remembered| remembered.row == index)
                .map(|remembered| remembered.fingerprint),
            doubtful: row.doubts.later,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million names take as many bytes as these, in megabytes, and their names.
    #[test]
    fn names_are_small() {
        assert_eq!((size_of::<Row>(), size_of::<Remembered>()), (24, 20));
    }
}
