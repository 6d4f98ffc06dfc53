//! Trees as text: see `print` and `make`.

use std::path::Path;

/// The tree below `root` in tree notation, one line an entry, sorted by path, no times.
#[must_use]
pub fn print(root: &Path) -> String {
    todo!()
}

/// Makes the entries of `text` below `root`.
pub fn make(root: &Path, text: &str) {
    todo!()
}
