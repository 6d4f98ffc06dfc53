//! What a baseline remembers of one directory: compact, because there may be a million names.

use rootfs::{FileKind, Metadata, Timestamp};

use crate::content::Fingerprint;

/// What `stat` said about one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    pub(crate) ino: u64,
    dev: (u32, u32),
    /// A device's number, else the size.
    size_or_rdev: u64,
    mtime_secs: i64,
    ctime_secs: i64,
    mtime_nanos: u32,
    ctime_nanos: u32,
    pub(crate) nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    kind: Kind,
}

/// A file's kind, or that the name belongs to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File(FileKind),
    /// A mount point: what is seen there is not part of this tree.
    Mounted,
}

impl FileState {
    pub(crate) fn new(metadata: &Metadata) -> FileState {
        let device = matches!(metadata.kind, FileKind::BlockDevice | FileKind::CharDevice);
        let rdev = u64::from(metadata.rdev.0) << 32 | u64::from(metadata.rdev.1);
        FileState {
            ino: metadata.ino,
            dev: metadata.dev,
            size_or_rdev: if device { rdev } else { metadata.size },
            mtime_secs: metadata.mtime.secs,
            ctime_secs: metadata.ctime.secs,
            mtime_nanos: metadata.mtime.nanos,
            ctime_nanos: metadata.ctime.nanos,
            nlink: u32::try_from(metadata.nlink).unwrap_or(u32::MAX),
            uid: metadata.uid,
            gid: metadata.gid,
            mode: u16::try_from(metadata.mode & 0o7777).unwrap_or_default(),
            kind: Kind::File(metadata.kind),
        }
    }

    pub(crate) fn mounted(metadata: &Metadata) -> FileState {
        FileState { kind: Kind::Mounted, ..FileState::new(metadata) }
    }

    pub(crate) fn is_mounted(&self) -> bool {
        self.kind == Kind::Mounted
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind == Kind::File(FileKind::Directory)
    }

    pub(crate) fn ctime(&self) -> Timestamp {
        Timestamp { secs: self.ctime_secs, nanos: self.ctime_nanos }
    }

    /// Whether a layer would hold the same metadata. The size of a directory is the file system's
    /// own affair.
    pub(crate) fn same_in_layer(&self, other: &FileState) -> bool {
        self.same_but_times(other)
            && (self.mtime_secs, self.mtime_nanos) == (other.mtime_secs, other.mtime_nanos)
            && (self.is_dir() || self.size_or_rdev == other.size_or_rdev)
    }

    /// Kind, mode and owner.
    pub(crate) fn same_but_times(&self, other: &FileState) -> bool {
        (self.kind, self.mode, self.uid, self.gid) == (other.kind, other.mode, other.uid, other.gid)
    }
}

/// One name of a table.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Where the name ends in [`Table::names`]; it begins where the one before ends.
    end: u32,
    state: FileState,
}

/// The content of one row's file.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    row: u32,
    fingerprint: Fingerprint,
    doubtful: bool,
}

/// The names of one directory, sorted, with what was known about each.
#[derive(Debug, Default)]
pub(crate) struct Table {
    names: Vec<u8>,
    rows: Vec<Row>,
    /// By row, ordered; only a few rows have one.
    fingerprints: Vec<Remembered>,
    /// Of the directory's own attributes.
    pub(crate) attributes: Option<Fingerprint>,
}

/// One name of a table and what is known about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'t> {
    pub(crate) name: &'t [u8],
    pub(crate) state: &'t FileState,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Whether it could have changed without any of `state` moving.
    pub(crate) doubtful: bool,
}

impl Table {
    pub(crate) fn new(attributes: Option<Fingerprint>) -> Table {
        Table { attributes, ..Table::default() }
    }

    /// Adds a name; `None` if the table is full.
    pub(crate) fn push(&mut self, name: &[u8], state: FileState) -> Option<()> {
        let end = u32::try_from(self.names.len().checked_add(name.len())?).ok()?;
        self.names.extend_from_slice(name);
        self.rows.push(Row { end, state });
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

    /// Brings the names in order. Before this, rows have no fingerprints.
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
            sorted
                .push(self.name(row), self.rows[row].state)
                .expect("because the same names fitted before");
        }
        sorted
    }

    /// Remembers the fingerprint of a row; rows come in order.
    pub(crate) fn remember(&mut self, row: usize, fingerprint: Fingerprint, doubtful: bool) {
        let row = u32::try_from(row).expect("because a table has fewer rows than bytes of names");
        self.fingerprints.push(Remembered { row, fingerprint, doubtful });
    }

    pub(crate) fn known(&self, row: usize) -> Option<Known<'_>> {
        let state = &self.rows.get(row)?.state;
        let found = u32::try_from(row).ok().and_then(|row| {
            self.fingerprints.binary_search_by_key(&row, |remembered| remembered.row).ok()
        });
        let found = found.map(|index| self.fingerprints[index]);
        Some(Known {
            name: self.name(row),
            state,
            fingerprint: found.map(|found| found.fingerprint),
            doubtful: found.is_some_and(|found| found.doubtful),
        })
    }
}
