//! [`Protected`]: the paths in a root that belong to somebody else.
//!
//! The state directory of the builder and what the container's runtime mounted are neither read
//! into layers nor changed nor deleted. What counts as a mount point is told by mount id where a
//! tree is walked; the paths here are for the questions that must be answered without a walk.

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Bound;

use rustix::fs::{Mode, OFlags};

use crate::dir::RootDir;
use crate::entry::path_of;
use crate::error::Error;
use crate::path::RootPath;

/// Paths that must not be read into layers, changed or deleted, with all that is below them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected {
    paths: BTreeSet<RootPath>,
}

impl Protected {
    /// Nothing is protected (mount points are still told by their mount id).
    #[must_use]
    pub const fn none() -> Protected {
        Protected { paths: BTreeSet::new() }
    }

    /// These paths and what is below them.
    pub fn from_paths(paths: impl IntoIterator<Item = RootPath>) -> Protected {
        Protected { paths: paths.into_iter().collect() }
    }

    /// These and the mount points below `root`, as far as the kernel lists them: without /proc
    /// none are listed here, and what protects them is that every walk compares mount ids.
    pub fn with_mounts(mut self, root: &RootDir) -> Result<Protected, Error> {
        let host = rustix::fs::openat(root, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::io("open", &RootPath::root(), errno))?;
        let Some(link) = path_of(&host) else { return Ok(self) };
        let base = rustix::fs::readlink(link, Vec::new())
            .map_err(|errno| Error::io("find", &RootPath::root(), errno))?;
        let base = RootPath::new(base.as_bytes())?;
        let mounts = read_mounts().map_err(|source| Error::Io {
            action: "list the mounts below",
            path: RootPath::root(),
            source,
        })?;
        for point in mount_points(&mounts) {
            let point = RootPath::new(point)?;
            if let Some(inside) = point.strip_prefix(&base).filter(|inside| !inside.is_empty()) {
                self.paths.insert(RootPath::new(inside)?);
            }
        }
        Ok(self)
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

fn read_mounts() -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::open("/proc/thread-self/mountinfo", flags, Mode::empty())?;
    let mut text = Vec::new();
    std::fs::File::from(fd).read_to_end(&mut text)?;
    Ok(text)
}

/// The fifth field of every line, in which the kernel writes blanks and the like as `\\040`.
fn mount_points(mounts: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let lines = mounts.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(unescape)
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| after.get(..3)).flatten();
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &after[3..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
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
    fn mount_points_are_unescaped() {
        let text =
            b"36 35 98:0 /mnt1 /mnt\\040a/b\\134 rw - ext3 /dev/root rw\n\n7 1 0:2 / /proc rw\n";
        let points: Vec<_> = mount_points(text).collect();
        assert_eq!(points, [b"/mnt a/b\\".to_vec(), b"/proc".to_vec()]);
    }

    #[test]
    fn nothing_is_protected_by_none() {
        let none = Protected::none();
        assert!(!none.covers(&RootPath::root()) && !none.holds_below(&RootPath::root()));
    }
}
