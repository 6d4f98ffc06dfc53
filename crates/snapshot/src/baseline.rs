//! [`Baseline`]: a tree as it was at a moment.

use std::collections::HashMap;
use std::hash::RandomState;

use rootfs::RootPath;

use crate::clock::ScanStart;
use crate::table::{FileState, Table};

/// A tree as it was at a moment, as far as is needed to tell later what changed.
#[derive(Debug)]
pub struct Baseline {
    pub(crate) directories: HashMap<RootPath, Table>,
    /// The root directory itself, which is a name in no table.
    pub(crate) root: Option<FileState>,
    /// When the scan began.
    pub(crate) start: ScanStart,
    /// The key of all hashes of states: nobody can foresee which states look alike.
    pub(crate) key: RandomState,
}

impl Baseline {
    pub(crate) fn new(start: ScanStart, key: RandomState) -> Baseline {
        Baseline { directories: HashMap::new(), root: None, start, key }
    }

    /// How many names it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.directories.values().map(Table::len).sum()
    }

    /// Whether the tree was empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
