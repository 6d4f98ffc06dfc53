//! [`RootPath`]: an absolute path inside a root, as bytes, cleaned and bounded.
//!
//! Cleaning is lexical and touches no file system: `..` takes the component before it away, and
//! above the root there is nothing. Links are the business of `RootDir`.

use std::cmp::Ordering;
use std::fmt;

use crate::error::Error;

/// An absolute, lexically clean path inside a root. Never a path of the host.
///
/// Holds at most [`RootPath::MAX_BYTES`] bytes in at most [`RootPath::MAX_DEPTH`] components, none
/// of them empty, `.`, `..`, or with a NUL byte. Ordered component by component, so that a
/// directory comes right before what is below it: `/a`, `/a/b`, `/a.b`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RootPath {
    /// Starts with `/`; ends with `/` only when it is the root.
    bytes: Box<[u8]>,
}

impl RootPath {
    /// The longest path, as the kernel's own limit (with its leading slash, without a NUL).
    pub const MAX_BYTES: usize = 4096;
    /// The deepest path.
    pub const MAX_DEPTH: usize = 1024;
    /// The longest single name, as the file systems' own limit.
    pub const MAX_NAME: usize = 255;

    /// Cleans `path` and makes it absolute.
    pub fn new(path: impl AsRef<[u8]>) -> Result<RootPath, Error> {
        clean(&[], path.as_ref())
    }

    /// The root itself, `/`.
    #[must_use]
    pub fn root() -> RootPath {
        RootPath { bytes: Box::from(*b"/") }
    }

    /// `path` below this one. A leading slash in `path` means nothing here, and `..` in it may
    /// climb above this path, but not above the root.
    pub fn join(&self, path: impl AsRef<[u8]>) -> Result<RootPath, Error> {
        clean(&self.bytes, path.as_ref())
    }

    /// `path` as a shell standing in this directory would read it: absolute if it begins with a
    /// slash, else below this path.
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Result<RootPath, Error> {
        let path = path.as_ref();
        if path.first() == Some(&b'/') { RootPath::new(path) } else { self.join(path) }
    }

    /// The directory that holds this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<RootPath> {
        if self.is_root() {
            return None;
        }
        let slash = self.last_slash();
        Some(RootPath { bytes: Box::from(&self.bytes[..slash.max(1)]) })
    }

    /// The last component; `None` for the root.
    #[must_use]
    pub fn file_name(&self) -> Option<&[u8]> {
        (!self.is_root()).then(|| &self.bytes[self.last_slash() + 1..])
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.bytes.len() == 1
    }

    /// The components from the top down; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.bytes[1..].split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// This path and every directory above it, from the root down.
    pub fn ancestors(&self) -> impl Iterator<Item = RootPath> + '_ {
        let below = (1..self.bytes.len()).filter(|at| self.bytes[*at] == b'/');
        let ends = std::iter::once(1).chain(below).chain(std::iter::once(self.bytes.len()));
        let all = ends.map(|end| RootPath { bytes: Box::from(&self.bytes[..end]) });
        all.skip(usize::from(self.is_root()))
    }

    /// Whether this is `other` or lies below it.
    #[must_use]
    pub fn starts_with(&self, other: &RootPath) -> bool {
        other.is_root()
            || (self.bytes.starts_with(&other.bytes)
                && matches!(self.bytes.get(other.bytes.len()), None | Some(b'/')))
    }

    /// What follows `base`: empty if they are equal, else without a leading slash.
    #[must_use]
    pub fn strip_prefix(&self, base: &RootPath) -> Option<&[u8]> {
        if !self.starts_with(base) {
            return None;
        }
        let rest = &self.bytes[base.bytes.len()..];
        Some(rest.strip_prefix(b"/").unwrap_or(rest))
    }

    /// The number of components; 0 for the root.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// The path with its leading slash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The path without its leading slash, as layers and `*at` system calls write it; empty for
    /// the root.
    #[must_use]
    pub fn relative(&self) -> &[u8] {
        &self.bytes[1..]
    }

    fn last_slash(&self) -> usize {
        self.bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0)
    }

    /// A path put together from names that the kernel gave out, which need no cleaning.
    pub(crate) fn child(&self, name: &[u8]) -> Result<RootPath, Error> {
        let slash = usize::from(!self.is_root());
        let mut bytes = Vec::with_capacity(self.bytes.len() + slash + name.len());
        bytes.extend_from_slice(&self.bytes);
        if slash == 1 {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        bounded(bytes)
    }
}

fn clean(base: &[u8], path: &[u8]) -> Result<RootPath, Error> {
    let mut bytes = base.to_vec();
    if bytes == b"/" {
        bytes.clear();
    }
    // What the limit is for is the clean path, but nobody gets to make us clean a gigabyte.
    if path.len() > 16 * RootPath::MAX_BYTES {
        return Err(Error::PathTooLong { path: Error::excerpt(path) });
    }
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => bytes.truncate(bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            _ if name.contains(&0) => {
                return Err(Error::PathHasNul { path: Error::excerpt(path) });
            }
            _ if name.len() > RootPath::MAX_NAME => {
                return Err(Error::NameTooLong { name: Error::excerpt(name) });
            }
            _ => {
                bytes.push(b'/');
                bytes.extend_from_slice(name);
            }
        }
    }
    if bytes.is_empty() {
        bytes.push(b'/');
    }
    bounded(bytes)
}

fn bounded(bytes: Vec<u8>) -> Result<RootPath, Error> {
    if bytes.len() > RootPath::MAX_BYTES {
        return Err(Error::PathTooLong { path: Error::excerpt(&bytes) });
    }
    let path = RootPath { bytes: bytes.into_boxed_slice() };
    if path.bytes.len() > RootPath::MAX_DEPTH && path.depth() > RootPath::MAX_DEPTH {
        return Err(Error::PathTooDeep { path: Error::excerpt(&path.bytes) });
    }
    Ok(path)
}

impl Ord for RootPath {
    fn cmp(&self, other: &RootPath) -> Ordering {
        // The slash sorts below every other byte: that is the order by components.
        let at = self.bytes.iter().zip(&other.bytes).position(|(a, b)| a != b);
        match at {
            None => self.bytes.len().cmp(&other.bytes.len()),
            Some(at) => match (self.bytes[at], other.bytes[at]) {
                (b'/', _) => Ordering::Less,
                (_, b'/') => Ordering::Greater,
                (a, b) => a.cmp(&b),
            },
        }
    }
}

impl PartialOrd for RootPath {
    fn partial_cmp(&self, other: &RootPath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// For people and logs: control characters and bytes that are not UTF-8 are escaped.
impl fmt::Display for RootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Error::excerpt(&self.bytes))
    }
}

impl fmt::Debug for RootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl AsRef<[u8]> for RootPath {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, clean: &str) {
        let made = RootPath::new(path).map(|path| path.to_string());
        assert_eq!(made.unwrap_or_else(|error| error.to_string()), clean, "{path:?}");
    }

    #[test]
    fn paths_are_cleaned_and_stay_below_the_root() {
        check("", "/");
        check("/", "/");
        check(".", "/");
        check("a/b", "/a/b");
        check("//a//./b/", "/a/b");
        check("/a/../b", "/b");
        check("../../etc/passwd", "/etc/passwd");
        check("/a/b/../../../..", "/");
        check("a\nb\x1b[31m", "/a\\nb\\x1b[31m");
        check("a\0b", "path `a\\0b` holds a NUL byte");
    }

    #[test]
    fn limits_are_named() {
        check(&"x/".repeat(1024), &format!("/{}x", "x/".repeat(1023)));
        let deep = RootPath::new("x/".repeat(1025)).expect_err("because 1025 is past the limit");
        assert!(matches!(deep, Error::PathTooDeep { .. }), "{deep}");
        let name = "n".repeat(255);
        let long = format!("/{name}").repeat(16);
        assert_eq!(long.len(), RootPath::MAX_BYTES);
        let path = RootPath::new(&long).expect("because 4096 bytes are allowed");
        assert!(matches!(path.child(b"x"), Err(Error::PathTooLong { .. })));
        assert!(matches!(RootPath::new("n".repeat(256)), Err(Error::NameTooLong { .. })));
    }

    #[test]
    fn order_is_by_component() {
        let mut paths = ["/a.b", "/a/b", "/a", "/", "/ab", "/a-b", "/a/b/c", "/A"]
            .map(|path| RootPath::new(path).expect("because these are short"));
        paths.sort();
        let sorted: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["/", "/A", "/a", "/a/b", "/a/b/c", "/a-b", "/a.b", "/ab"]);
    }

    #[test]
    fn parts() {
        let path = RootPath::new("/usr/lib/x").expect("because it is short");
        let lib = RootPath::new("/usr/lib").expect("because it is short");
        assert_eq!(path.parent(), Some(lib.clone()));
        assert_eq!(path.file_name(), Some(&b"x"[..]));
        assert_eq!(path.components().count(), 3);
        assert_eq!(path.depth(), 3);
        assert_eq!(path.strip_prefix(&lib), Some(&b"x"[..]));
        assert_eq!(path.strip_prefix(&RootPath::root()), Some(&b"usr/lib/x"[..]));
        assert_eq!(lib.strip_prefix(&lib), Some(&b""[..]));
        assert!(!RootPath::new("/usr/libx").expect("because it is short").starts_with(&lib));
        assert_eq!(RootPath::root().parent(), None);
        let above: Vec<_> = path.ancestors().map(|path| path.to_string()).collect();
        assert_eq!(above, ["/", "/usr", "/usr/lib", "/usr/lib/x"]);
        assert_eq!(RootPath::root().ancestors().count(), 1);
        assert_eq!(lib.resolve("../a").expect("short").to_string(), "/usr/a");
        assert_eq!(lib.resolve("/a").expect("short").to_string(), "/a");
    }
}
