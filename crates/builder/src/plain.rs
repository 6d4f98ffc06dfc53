//! Whether a tree can be shown to a step as it is.
//!
//! A step sees the context as an image would have it: without what is ignored, all of it root's.
//! Where the directory on the host already is like that, nothing need be copied.

use std::sync::atomic::{AtomicBool, Ordering};

use copy::{Origin, Tree};
use glob::IgnoreFile;
use rootfs::{Flow, Order, RootPath, WalkEntry, WalkOptions, walk};

use crate::error::StepError;

/// Whether what is at `source` (and below it) can be shown as it is.
pub(crate) fn is_plain(tree: &Tree<'_>, source: &RootPath) -> Result<bool, StepError> {
    if tree.origin == Origin::Image {
        return Ok(true);
    }
    let top = tree.root.metadata(source)?;
    if (top.uid, top.gid) != (0, 0) {
        return Ok(false);
    }
    if !top.is_dir() {
        return Ok(true);
    }
    let plain = AtomicBool::new(true);
    let ignore = tree.ignore.filter(|ignore| !ignore.is_empty());
    let excluded = |path: &RootPath| ignore.is_some_and(|ignore| ignore.excludes(path.relative()));
    let visit = |entry: &WalkEntry<'_>| -> Result<Flow, rootfs::Error> {
        if (entry.metadata.uid, entry.metadata.gid) != (0, 0) || excluded(entry.path) {
            plain.store(false, Ordering::Relaxed);
        }
        Ok(if plain.load(Ordering::Relaxed) { Flow::Continue } else { Flow::Skip })
    };
    let options = WalkOptions { order: Order::Any, threads: 1, protected: tree.protected };
    walk(tree.root, source, &options, &visit)?;
    Ok(plain.into_inner())
}

/// Whether a path of the context exists for the build: it is not ignored, or something below it
/// is not.
pub(crate) fn is_in_view(
    tree: &Tree<'_>,
    ignore: &IgnoreFile,
    path: &RootPath,
) -> Result<bool, StepError> {
    let verdict = ignore.walk_to(path.relative());
    if !verdict.is_excluded() {
        return Ok(true);
    }
    if !tree.root.metadata(path)?.is_dir() || !ignore.may_include_below(&verdict, path.relative()) {
        return Ok(false);
    }
    let found = AtomicBool::new(false);
    let visit = |entry: &WalkEntry<'_>| -> Result<Flow, rootfs::Error> {
        if !ignore.excludes(entry.path.relative()) {
            found.store(true, Ordering::Relaxed);
        }
        Ok(if found.load(Ordering::Relaxed) { Flow::Skip } else { Flow::Continue })
    };
    let options = WalkOptions { order: Order::Any, threads: 1, protected: tree.protected };
    walk(tree.root, path, &options, &visit)?;
    Ok(found.into_inner())
}
