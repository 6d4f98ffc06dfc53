//! Which paths the current layer has made: a whiteout hides what lower layers have, wherever in
//! the archive it stands.
//!
//! A layer may have millions of paths, so only hashes are kept: 128 bits under keys that differ
//! each time, for which nobody can find two paths that collide.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use rootfs::RootPath;

/// A set of paths.
#[derive(Default)]
pub(crate) struct Made {
    keys: [RandomState; 2],
    paths: HashSet<u128>,
    /// Directories with a path of the set somewhere below them.
    above: HashSet<u128>,
}

impl Made {
    pub(crate) fn insert(&mut self, path: &RootPath) {
        if !self.paths.insert(self.hash(path)) {
            return;
        }
        let mut directory = path.parent();
        while let Some(path) = directory {
            if !self.above.insert(self.hash(&path)) {
                return;
            }
            directory = path.parent();
        }
    }

    pub(crate) fn contains(&self, path: &RootPath) -> bool {
        self.paths.contains(&self.hash(path))
    }

    pub(crate) fn has_below(&self, path: &RootPath) -> bool {
        self.above.contains(&self.hash(path))
    }

    fn hash(&self, path: &RootPath) -> u128 {
        let [high, low] = self.keys.each_ref().map(|key| u128::from(key.hash_one(path.as_bytes())));
        high << 64 | low
    }
}
