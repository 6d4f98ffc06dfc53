//! What changed in a root since a baseline: exact, at the cost of a stat of every file.
//!
//! Responsible for finding the changes of a step whose effect is not known in advance (`RUN`).
//! *Does not* write layers, and does not know what a layer is.
//!
//! # How a change is found
//! A file that is written, relabelled, linked, renamed or replaced gets a new *ctime*, which no
//! program can set back. So a file whose device, inode, ctime and all else that `stat` tells are
//! as before is as before, and its content is not read. There are two exceptions, and in both the
//! content (with link target and extended attributes) is hashed at the baseline and again later:
//!
//! - **Recent files.** Clocks tick: two changes within one tick have the same ctime. A file whose
//!   ctime is not older than the scan's start less its file system's granularity could change
//!   again unseen ("racily clean", as git calls it). So could an older one if the clock was set
//!   back meanwhile, which is noticed by the clock that nobody can set.
//! - **File systems that do not tell.** On a tmpfs a write through a shared mapping that was read
//!   first moves no time at all; on a network file system times are another machine's. Every scan
//!   tries it out on a file without a name (see `trial`), and where the answer is no, every file's
//!   content is compared.
//!
//! # What counts as changed
//! What a layer can hold: kind, mode, owner, modification time, size, content, link target, device
//! number, extended attributes. That a file got or lost another name is no change of the names it
//! has: a new name of an old file is in the set alone, and a layer holds it as a file of its own,
//! as BuildKit's layers do. A directory is in the set
//! when its own metadata changed (it mostly has: making a name in it moves its time), not because
//! something below it did. Of the root directory the time alone does not count, or every layer
//! would carry it. Sockets cannot be held by a layer and are treated as if they were not there.
//!
//! A file of which only the ctime moved (chmod there and back, a link made and removed) is
//! compared by content where the baseline knows it, and left out if it is the same. Where it does
//! not (an old file under [`Contents::Recent`]), it is *in* the set: it may have been rewritten
//! with its time restored, nobody can tell any more, and a layer with one unchanged file too many
//! is right while one with a changed file too few is not. [`Contents::Known`] and
//! [`Contents::All`] know all contents.
//!
//! Read [`scan`] and [`diff`] first.
#![forbid(unsafe_code)]

mod baseline;
mod clock;
mod content;
mod diff;
mod error;
mod table;
mod trial;

pub use baseline::Baseline;
pub use error::Error;

use rootfs::{ChangeSet, Protected, RootDir};

/// Which files have their content read while scanning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Only those that could change again without anybody noticing.
    Recent,
    /// All once: a file's content is read when it is first seen, and again only when `stat` says
    /// that something happened to it. A file whose content and metadata are as before is then not
    /// in the set, at the price of reading the tree one time.
    Known,
    /// All, at every scan, trusting no time. A file whose content and metadata are as before is
    /// then never in the set, whatever was done to it meanwhile.
    All,
}

/// How to scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions<'a> {
    /// Threads, at least one.
    pub threads: usize,
    /// Neither looked at nor reported. Mount points are not either, listed here or not.
    pub protected: &'a Protected,
    /// Which contents are read.
    pub contents: Contents,
}

/// Looks at the whole tree. No process of a step may be alive meanwhile.
pub fn scan(root: &RootDir, options: &ScanOptions<'_>) -> Result<Baseline, Error> {
    diff::run(root, None, options).map(|(_, baseline)| baseline)
}

/// What changed since `baseline` (which is used up), and the next baseline. No process of a step
/// may be alive meanwhile.
pub fn diff(
    root: &RootDir,
    baseline: Baseline,
    options: &ScanOptions<'_>,
) -> Result<(ChangeSet, Baseline), Error> {
    diff::run(root, Some(baseline), options)
}
