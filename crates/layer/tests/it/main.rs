//! Layers on real file systems: what is written, what is applied, and what must not happen.
#![allow(clippy::disallowed_methods, reason = "tests look at the tree from outside")]

mod differential;
mod fidelity;
mod formats;
mod hostile;
mod limits;
mod matrix;
mod model;
mod ordinary;
mod owners;
mod races;
mod roundtrip;
mod unpacking;
mod whiteouts;

use std::path::Path;

use layer::{Applied, ApplyOptions, Error, Owners, WriteOptions, WrittenLayer};
use rootfs::{Change, ChangeSet, RootDir, RootPath};

/// Applies a layer where only one owner is to be had: works for every user.
fn apply_as_anyone(root: &Path, layer: &[u8]) -> Result<Applied, Error> {
    let options = ApplyOptions { owners: Owners::One(0, 0), ..ApplyOptions::default() };
    layer::apply(&open(root), layer, &options, &|| false)
}

/// Applies a layer with all that root can do.
fn apply(root: &Path, layer: &[u8]) -> Result<Applied, Error> {
    layer::apply(&open(root), layer, &ApplyOptions::default(), &|| false)
}

/// Writes all that is in a tree.
fn write_all(root: &Path, options: &WriteOptions) -> (Vec<u8>, WrittenLayer) {
    write(root, &everything(root), options).expect("the tree can be written")
}

fn write(
    root: &Path,
    changes: &ChangeSet,
    options: &WriteOptions,
) -> Result<(Vec<u8>, WrittenLayer), Error> {
    let mut bytes = Vec::new();
    let written = layer::write(&open(root), changes, &mut bytes, options, &|| false)?;
    Ok((bytes, written))
}

/// Every path below a directory as an upsert.
fn everything(root: &Path) -> ChangeSet {
    fn visit(root: &Path, directory: &Path, changes: &mut ChangeSet) {
        for entry in std::fs::read_dir(directory).expect("the directory exists") {
            let path = entry.expect("the directory can be listed").path();
            let inside = path.strip_prefix(root).expect("it is below the root");
            changes.insert(Change::Upsert(rooted(inside.as_os_str().as_encoded_bytes())));
            if path.symlink_metadata().expect("it was just listed").is_dir() {
                visit(root, &path, changes);
            }
        }
    }
    let mut changes = ChangeSet::new();
    visit(root, root, &mut changes);
    changes
}

fn open(root: &Path) -> RootDir {
    RootDir::open(root).expect("the scratch directory exists")
}

fn rooted(path: impl AsRef<[u8]>) -> RootPath {
    RootPath::new(path).expect("the path is short")
}

/// The error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
