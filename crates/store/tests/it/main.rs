//! The store on a real file system: what dies leaves nothing, and others can read the outputs.
#![allow(clippy::disallowed_methods, reason = "tests look at the files from outside")]

mod blobs;
mod deaths;
mod images;
mod outputs;
mod shared;

use store::BlobStore;
use testkit::ScratchRoot;

/// A store in a scratch directory.
fn store() -> (ScratchRoot, BlobStore) {
    let scratch = ScratchRoot::new();
    let store = BlobStore::open(&scratch.path().join("store")).expect("a fresh directory");
    (scratch, store)
}

/// The names in a directory.
fn names(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the directory exists");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("it can be listed").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}
