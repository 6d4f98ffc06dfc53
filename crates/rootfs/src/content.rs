//! Copying file contents.
#![allow(clippy::todo, unused_variables)]
use std::fs::File;

/// Copies the whole content of `from` to the empty file `to`: holes stay holes, shared extents or
/// in-kernel copies where the file systems can. Returns the size. An error if `from` changes size meanwhile.
pub fn copy_file_contents(from: &File, to: &File) -> crate::Result<u64> {
    todo!()
}
