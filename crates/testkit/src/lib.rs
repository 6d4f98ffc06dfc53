//! What the tests of the workspace share: trees in text, scratch roots, questions about the machine.
//!
//! For tests only, so that it may use `std::fs` and start programs. *Does not* depend on any crate
//! of ours, so that every crate can be tested with it. Read [`tree`] first.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests look at the tree from outside")]
#![allow(clippy::todo, unused_variables)]

pub mod base_image;
pub mod fault;
pub mod registry;
pub mod tree;

use std::path::{Path, PathBuf};

/// A temporary directory that is gone when this is dropped.
#[derive(Debug)]
pub struct ScratchRoot {
    path: PathBuf,
}

impl ScratchRoot {
    /// An empty directory (mode 0755).
    #[must_use]
    pub fn new() -> ScratchRoot {
        todo!()
    }
    /// With a tree in it.
    #[must_use]
    pub fn with(text: &str) -> ScratchRoot {
        todo!()
    }
    /// Where.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for ScratchRoot {
    fn default() -> ScratchRoot {
        ScratchRoot::new()
    }
}

/// Whether the test runs as root. If not: fails where `CI` is set, else says what is skipped and
/// returns false (`if !require_root("...") { return; }`).
#[must_use]
pub fn require_root(what: &str) -> bool {
    todo!()
}

/// The same for user namespaces.
#[must_use]
pub fn require_userns(what: &str) -> bool {
    todo!()
}

/// Runs `test` on a thread that has a mount namespace of its own (needs root).
pub fn in_private_mounts<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    todo!()
}
