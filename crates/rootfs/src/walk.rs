//! Walking a tree.
#![allow(clippy::todo, unused_variables)]
use crate::*;

/// In which order entries are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By path, on the calling thread alone.
    Sorted,
    /// A directory before what is below it, else any; by `threads` threads.
    Any,
}

/// How to walk.
#[derive(Clone, Copy, Debug)]
pub struct WalkOptions<'a> {
    /// The order.
    pub order: Order,
    /// Threads, at least one.
    pub threads: usize,
    /// Neither visited nor entered. Mount points are visited but never entered.
    pub protected: &'a Protected,
}

/// What to do after an entry was visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Do not enter this directory.
    Skip,
}

/// One entry.
#[derive(Debug)]
pub struct WalkEntry<'a> {
    /// Where.
    pub path: &'a RootPath,
    /// What it is.
    pub metadata: &'a Metadata,
}

/// Visits everything below the directory `start` (not itself), following no link.
pub fn walk<E: From<Error> + Send>(
    root: &RootDir,
    start: &RootPath,
    options: &WalkOptions<'_>,
    visit: &(dyn Fn(&WalkEntry<'_>) -> std::result::Result<Flow, E> + Sync),
) -> std::result::Result<(), E> {
    todo!()
}
