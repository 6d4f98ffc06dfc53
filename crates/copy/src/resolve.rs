//! Following links inside a tree that is not simply the file system.
//!
//! A context is seen through its ignore file, and the destination of `--link` as an empty root, so
//! the kernel cannot follow their links for us. The result is a path without links; the rootfs
//! operations on it stay inside the root whatever happens to the tree meanwhile.

use rootfs::{Metadata, RootPath};

use crate::{Error, Result};

/// The kernel gives up after 40 links, BuildKit after 255.
const MAX_LINKS: usize = 255;

/// A tree to look at.
pub(crate) trait Look {
    /// What is at `path`, itself; its directory holds no links.
    fn look(&self, path: &RootPath) -> Result<Option<Metadata>>;

    /// The target of the link at `path`.
    fn read_link(&self, path: &RootPath) -> Result<Vec<u8>>;
}

/// Where `path` leads to, and what is there. What does not exist is kept as it is written.
pub(crate) fn follow(tree: &impl Look, path: &RootPath) -> Result<(RootPath, Option<Metadata>)> {
    let mut current = RootPath::root();
    let mut links = 0;
    let mut remaining: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    while let Some(name) = remaining.pop() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                current = current.parent().unwrap_or(current);
                continue;
            }
            _ => {}
        }
        let next = current.join(&name)?;
        if !tree.look(&next)?.is_some_and(|found| found.is_symlink()) {
            current = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Error::TooManyLinks { path: path.clone() });
        }
        let target = tree.read_link(&next)?;
        if target.starts_with(b"/") {
            current = RootPath::root();
        }
        remaining.extend(target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
    }
    let found = tree.look(&current)?;
    Ok((current, found))
}
