//! What changed in a root since a baseline.
#![forbid(unsafe_code)]
#![allow(clippy::todo, unused_variables, dead_code)]

use rootfs::{ChangeSet, Protected, RootDir};

/// Which files have their content read while scanning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Only those that could change again without anybody noticing.
    Recent,
    /// All.
    All,
}

/// How to scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions<'a> {
    /// Threads, at least one.
    pub threads: usize,
    /// Neither looked at nor reported.
    pub protected: &'a Protected,
    /// Which contents are read.
    pub contents: Contents,
}

/// A tree as it was at a moment.
#[derive(Debug)]
pub struct Baseline {}

/// Why a scan failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tree cannot be read.
    #[error("cannot read the root")]
    Root(#[from] rootfs::Error),
}

/// Looks at the whole tree.
pub fn scan(root: &RootDir, options: &ScanOptions<'_>) -> Result<Baseline, Error> {
    todo!()
}

/// What changed since `baseline` (which is used up), and the next baseline.
pub fn diff(
    root: &RootDir,
    baseline: Baseline,
    options: &ScanOptions<'_>,
) -> Result<(ChangeSet, Baseline), Error> {
    todo!()
}
