//! [`Protected`]: the paths in a root that belong to somebody else.
//!
//! The state directory of the builder and what the container's runtime mounted are neither read
//! into layers nor changed nor deleted. What counts as a mount point is told by mount id where a
//! tree is walked; the paths here are for the questions that must be answered without a walk.

#![allow(clippy::todo)]
use std::collections::BTreeSet;
use std::ops::Bound;

use crate::path::RootPath;

/// Paths that must not be read into layers, changed or deleted, with all that is below them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected {
    paths: BTreeSet<RootPath>,
}

impl Protected {
    /// Nothing is protected (mount points are still told by their mount id).
    #[must_use]
    pub fn none() -> Protected {
        Protected::default()
    }

    /// These paths and what is below them.
    pub fn from_paths(paths: impl IntoIterator<Item = RootPath>) -> Protected {
        Protected { paths: paths.into_iter().collect() }
    }

    /// These and the mount points below `root`, as far as the kernel lists them.
    pub fn with_mounts(self, root: &crate::RootDir) -> crate::Result<Protected> {
        let _ = root;
        todo!()
    }

    /// One path more.
    pub fn insert(&mut self, path: RootPath) {
        self.paths.insert(path);
    }

    /// Whether nothing is protected by path.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The protected paths, in order.
    pub fn iter(&self) -> impl Iterator<Item = &RootPath> {
        self.paths.iter()
    }

    /// Whether `path` is protected, itself or by a directory above it.
    #[must_use]
    pub fn covers(&self, path: &RootPath) -> bool {
        !self.paths.is_empty() && path.ancestors().any(|above| self.paths.contains(&above))
    }

    /// Whether something strictly below `path` is protected.
    #[must_use]
    pub fn holds_below(&self, path: &RootPath) -> bool {
        let after = (Bound::Excluded(path), Bound::Unbounded);
        // What is below a path follows it at once in the order by components.
        self.paths.range::<RootPath, _>(after).next().is_some_and(|next| next.starts_with(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, covers: bool, holds_below: bool) {
        let path_of = |text: &str| RootPath::new(text).expect("because it is short");
        let protected =
            Protected::from_paths(["/kaniko", "/etc/hosts", "/a/b/c", "/a.b"].map(path_of));
        assert_eq!(protected.covers(&path_of(path)), covers, "covers {path}");
        assert_eq!(protected.holds_below(&path_of(path)), holds_below, "holds below {path}");
    }

    #[test]
    fn subtrees_are_covered_and_their_parents_hold_them() {
        check("/", false, true);
        check("/kaniko", true, false);
        check("/kaniko/store", true, false);
        check("/kanik", false, false);
        check("/kaniko2", false, false);
        check("/etc", false, true);
        check("/etc/hosts", true, false);
        check("/etc/passwd", false, false);
        check("/a", false, true);
        check("/a/b", false, true);
        check("/a/b/c", true, false);
        check("/a/b/d", false, false);
        check("/a.b/x", true, false);
    }

    #[test]
    fn nothing_is_protected_by_none() {
        let none = Protected::none();
        assert!(!none.covers(&RootPath::root()) && !none.holds_below(&RootPath::root()));
    }
}
